import type {NoticeEvent, NoticeChoice} from './notice.js'
import type {Severity} from './pagerduty.js'

interface Named {
  /** What messages call it, instead of its kind. */
  name?: string | undefined
  events?: NoticeEvent[] | undefined
  /** Where it stands in the config file. */
  place?: string | undefined
  /** A part of it is to come from a variable that is not set: it cannot be told anything. */
  unset?: {key: string; variable: string} | undefined
}

interface Chosen extends Named {
  on?: NoticeChoice[] | undefined
}

export type ChannelConfig =
  | ({type: 'slack' | 'discord'; url: string} & Chosen)
  | ({
      type: 'pagerduty'
      routingKey: string
      severity?: Severity | undefined
      url?: string | undefined
    } & Named)
  | ({type: 'email'; smtpUrl: string; from: string; to: string[]} & Chosen)
  | ({
      type: 'webhook'
      url: string
      secret?: string | undefined
      headers?: Record<string, string> | undefined
    } & Chosen)
  | ({type: 'ping'; url: string} & Chosen)

/** The `notifications` of a config file. */
export type NotificationsConfig = ChannelConfig[]
