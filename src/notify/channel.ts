import type {Notice, NoticeEvent, NoticeOutcome} from './notice.js'

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
  wants(notice: Notice): boolean
  /** @throws DeliveryFailure with a reason that holds no address and no secret */
  send(notice: Notice, deps: SendDeps): Promise<void>
}

/** Why a notice did not get through, as the end of a sentence: "it answered 404". Fit to print. */
export class DeliveryFailure extends Error {}

/** Which notices a channel gets. */
export interface Choice {
  on: readonly NoticeOutcome[]
  events: readonly NoticeEvent[]
}

/** A test is for everybody. */
export function isChosen({on, events}: Choice, notice: Notice): boolean {
  return notice.isTest === true || (on.includes(notice.outcome) && events.includes(notice.event))
}

/** Of Node's error codes, those with which a certificate is turned down. */
export function isCertificateFault(code: string): boolean {
  return /CERT|SIGNATURE|ALTNAME|SELF_SIGNED|UNABLE_TO|CRL/.test(code)
}
