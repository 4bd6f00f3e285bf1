/** A piece of HTML that is as it should be: what was put into it was escaped. */
export class Html {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text
  }
}

type Value = Html | string | number | false | null | undefined | Value[]

/** Markup in which every value is escaped, unless it is markup itself; what is false or absent is nothing. */
export function markup(parts: TemplateStringsArray, ...values: Value[]): Html {
  return new Html(parts.reduce((text, part, index) => text + textOf(values[index - 1]) + part))
}

function textOf(value: Value): string {
  if (value === false || value === null || value === undefined) return ''
  if (Array.isArray(value)) return value.map(textOf).join('')
  return value instanceof Html ? value.text : escapeHtml(String(value))
}

const entities: Record<string, string> = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;'}

export function escapeHtml(text: string): string {
  // Control characters are no HTML; those that turn the direction of writing would disguise a name.
  return text
    .replace(/[&<>"']/g, (character) => entities[character]!)
    .replace(/(?![\n\t])[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
}
