import type {SendDeps} from './channel.js'
import {post} from './http.js'
import type {Fact, Notice} from './notice.js'
import {factsOf, fit, printable, symbolOf, titleOf} from './words.js'

/** What Slack takes: https://docs.slack.dev/reference/block-kit/blocks */
export const slackLimits = {header: 150, section: 3000, field: 2000, fields: 10, text: 3000}

/** Sends to an incoming webhook, as blocks; `text` is what notifications of the desktop and the phone show. */
export async function sendToSlack(url: string, notice: Notice, deps: SendDeps): Promise<void> {
  const headers = {'content-type': 'application/json; charset=utf-8'}
  await post({url, headers, body: JSON.stringify(slackMessage(notice)), answersInWords: true}, deps)
}

export function slackMessage(notice: Notice): Record<string, unknown> {
  const title = `${symbolOf(notice)} ${titleOf(notice)}`
  const {error, runUrl} = notice
  const facts = factsOf({...notice, runUrl: undefined})
  const text = error === undefined ? title : `${title}: ${printable(error.message)}`
  return {
    text: fitMrkdwn(text, slackLimits.text),
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      {type: 'header', text: plain(title, slackLimits.header)},
      ...(error === undefined ? [] : [section(`${printable(error.message)} (${error.code})`)]),
      ...suggestionBlocks(error?.suggestions ?? []),
      {type: 'section', fields: facts.slice(0, slackLimits.fields).map(field)},
      ...(runUrl === undefined ? [] : [linkTo(runUrl)]),
    ],
  }
}

function suggestionBlocks(suggestions: string[]): unknown[] {
  if (suggestions.length === 0) return []
  return [section(['What to do:', ...suggestions.map((one) => `• ${printable(one)}`)].join('\n'))]
}

// Messages and commands are plain text: nothing in them is taken for markup, and a command can be copied as it is.
const section = (text: string) => ({type: 'section', text: plain(text, slackLimits.section)})

const plain = (text: string, limit: number) => ({
  type: 'plain_text',
  text: fit(text, limit, inPlainText),
  emoji: false,
})

function field({label, value}: Fact): unknown {
  const heading = `*${fitMrkdwn(label, 400)}*\n`
  return {type: 'mrkdwn', text: heading + fitMrkdwn(value, slackLimits.field - heading.length)}
}

function linkTo(url: string): unknown {
  return {type: 'context', elements: [{type: 'mrkdwn', text: `<${inPlainTextAll(url)}|Open the run>`}]}
}

const inPlainTextAll = (url: string): string => [...url.replaceAll('|', '%7C')].map(inPlainText).join('')

/** `<!channel>` and `<@U…>` are only text where the angle brackets are escaped. */
function inPlainText(character: string): string {
  return {'&': '&amp;', '<': '&lt;', '>': '&gt;'}[character] ?? character
}

/**
 * mrkdwn has no escape for what makes bold or code; an invisible space before it takes its meaning. Underscores inside
 * of a word have none, and names with them are copied from here.
 */
function fitMrkdwn(text: string, limit: number): string {
  const harmless = text.replace(/[*~`]|(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '\u200b$&')
  return fit(harmless, limit, inPlainText)
}
