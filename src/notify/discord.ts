import type {SendDeps} from './channel.js'
import {post} from './http.js'
import type {Notice} from './notice.js'
import {factsOf, fit, printable, symbolOf, titleOf} from './words.js'

/** What Discord takes in an embed; `total` is the sum of all its texts. */
export const discordLimits = {title: 256, description: 4096, fields: 25, name: 256, value: 1024, total: 6000}

const colors = {start: 0x3498db, success: 0x2ecc71, failure: 0xe74c3c}

export async function sendToDiscord(url: string, notice: Notice, deps: SendDeps): Promise<void> {
  const headers = {'content-type': 'application/json'}
  await post({url, headers, body: JSON.stringify(discordMessage(notice))}, deps)
}

export function discordMessage(notice: Notice): Record<string, unknown> {
  const {error, runUrl, outcome, at} = notice
  const title = fitMarkdown(`${symbolOf(notice)} ${titleOf(notice)}`, discordLimits.title)
  const description = error === undefined ? '' : fitMarkdown(descriptionOf(error), longestDescription)
  let room = discordLimits.total - title.length - description.length
  const fields = []
  for (const {label, value} of factsOf({...notice, runUrl: undefined}).slice(0, discordLimits.fields)) {
    const field = {
      name: fitMarkdown(label, discordLimits.name),
      value: fitMarkdown(value, longestValue),
      inline: value.length <= 40,
    }
    room -= field.name.length + field.value.length
    if (room >= 0) fields.push(field)
  }
  return {
    embeds: [
      {
        title,
        ...(description === '' ? {} : {description}),
        ...(runUrl === undefined ? {} : {url: runUrl}),
        color: colors[outcome],
        timestamp: at,
        fields,
      },
    ],
    allowed_mentions: {parse: []}, // whatever a message quotes, nobody is called by it
  }
}

// Short enough for both to leave room for the facts.
const longestDescription = 3000
const longestValue = 500

function descriptionOf({message, code, suggestions}: NonNullable<Notice['error']>): string {
  const lines = [`${printable(message)} (${code})`]
  if (suggestions.length > 0)
    lines.push('', 'What to do:', ...suggestions.map((one) => `• ${printable(one)}`))
  return lines.join('\n')
}

function fitMarkdown(text: string, limit: number): string {
  const harmless = text.replace(/@(?=everyone|here)/g, '@\u200b') // the invisible space makes it nobody's name
  return fit(harmless, limit, inMarkdown)
}

const inMarkdown = (character: string): string =>
  '\\`*_~|<>[]()#-:'.includes(character) ? `\\${character}` : character
