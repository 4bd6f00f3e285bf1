import type {Notice, NoticeChoice, NoticeEvent} from './notice.js'

export type ChannelKind = 'slack' | 'discord' | 'pagerduty' | 'email' | 'webhook' | 'ping'

export type Environment = Record<string, string | undefined>

export interface SendDeps {
  /** Where proxies are looked up. */
  env: Environment
  /** Aborted when the time is up; whatever is under way ends. */
  signal: AbortSignal
  /** How much time is left, in milliseconds. */
  remainingMs(): number
}

/** Somebody who is told. */
export interface Channel {
  /** Fit to print: never its address. */
  name: string
  kind: ChannelKind
  /** Told of all databases, and not of one that has channels of its own. */
  isShared: boolean
  wants(notice: Notice): boolean
  /** Whether it is to be known for this channel that the last run failed. */
  remembers: boolean
  /** @throws DeliveryFailure with a reason that holds no address and no secret */
  send(notice: Notice, deps: SendDeps): Promise<void>
}

/** Why a notice did not get through, as the end of a sentence: "it answered 404". Fit to print. */
export class DeliveryFailure extends Error {}

/** Which notices a channel gets. */
export interface Choice {
  on: readonly NoticeChoice[]
  events: readonly NoticeEvent[]
}

/** A test is for everybody. */
export function isChosen({on, events}: Choice, notice: Notice): boolean {
  if (notice.isTest === true) return true
  const isWanted = on.includes(notice.outcome) || (notice.isRecovery === true && on.includes('recovered'))
  return isWanted && events.includes(notice.event)
}

/** Of Node's error codes, those with which a certificate is turned down. */
export function isCertificateFault(code: string): boolean {
  return /CERT|SIGNATURE|ALTNAME|SELF_SIGNED|UNABLE_TO|CRL/.test(code)
}
