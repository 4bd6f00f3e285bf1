/**
 * A strict reader of Prometheus' text exposition format 0.0.4, after its documentation: lines end with a line feed, the
 * last too; HELP and TYPE stand before a metric's samples, once; the samples of a metric stand together; no series is
 * there twice; in help `\\` and `\n` are escapes, in a label's value `\"` too, and nothing else is.
 */
export interface ParsedMetric {
  name: string
  help: string
  type: string
  samples: {labels: Record<string, string>; value: number}[]
}

export function parsePrometheus(text: string): ParsedMetric[] {
  if (!text.endsWith('\n')) throw new Error('The last line does not end with a line feed.')
  if (text.includes('\r')) throw new Error('There is a carriage return.')
  const metrics = new Map<string, ParsedMetric>()
  const series = new Set<string>()
  let current: ParsedMetric | undefined
  const begin = (name: string): ParsedMetric => {
    if (current?.name === name) return current
    if (metrics.has(name)) throw new Error(`The lines of ${name} do not stand together.`)
    current = {name, help: '', type: '', samples: []}
    metrics.set(name, current)
    return current
  }
  for (const line of text.slice(0, -1).split('\n')) {
    if (line.startsWith('# HELP ')) addHelp(begin(nameIn(line)), line)
    else if (line.startsWith('# TYPE ')) addType(begin(nameIn(line)), line)
    else if (line.startsWith('#') || line.trim() === '') throw new Error(`Not a line of ours: ${line}`)
    else {
      const {name, labels, value} = sampleIn(line)
      const metric = begin(name)
      const key = name + JSON.stringify(Object.entries(labels).sort())
      if (metric.type === '' || metric.help === '')
        throw new Error(`${name} has samples before HELP and TYPE.`)
      if (series.has(key)) throw new Error(`The series is there twice: ${line}`)
      series.add(key)
      metric.samples.push({labels, value})
    }
  }
  for (const {name, samples} of metrics.values())
    if (samples.length === 0) throw new Error(`${name} has no samples.`)
  return [...metrics.values()]
}

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const labelName = /^[a-zA-Z_][a-zA-Z0-9_]*$/

function nameIn(line: string): string {
  const name = line.split(' ')[2] ?? ''
  if (!metricName.test(name)) throw new Error(`No name of a metric: ${line}`)
  return name
}

function addHelp(metric: ParsedMetric, line: string): void {
  if (metric.help !== '' || metric.samples.length > 0) throw new Error(`A second or late HELP: ${line}`)
  metric.help = unescaped(line.slice(`# HELP ${metric.name} `.length), /\\(.)/g, {'\\': '\\', n: '\n'})
  if (metric.help === '') throw new Error(`An empty HELP: ${line}`)
}

function addType(metric: ParsedMetric, line: string): void {
  const type = line.slice(`# TYPE ${metric.name} `.length)
  if (metric.type !== '' || metric.samples.length > 0) throw new Error(`A second or late TYPE: ${line}`)
  if (!['counter', 'gauge', 'histogram', 'summary', 'untyped'].includes(type))
    throw new Error(`No type: ${line}`)
  metric.type = type
}

function sampleIn(line: string): {name: string; labels: Record<string, string>; value: number} {
  const name = /^[^{ ]+/.exec(line)?.[0] ?? ''
  if (!metricName.test(name)) throw new Error(`No name of a metric: ${line}`)
  let rest = line.slice(name.length)
  const labels: Record<string, string> = {}
  if (rest.startsWith('{')) {
    rest = rest.slice(1)
    while (!rest.startsWith('}')) {
      const match = /^([^=]+)="((?:[^"\\]|\\.)*)"(,?)/.exec(rest)
      if (!match || !labelName.test(match[1])) throw new Error(`No label at: ${rest}`)
      if (match[1] in labels) throw new Error(`A label twice: ${line}`)
      labels[match[1]] = unescaped(match[2], /\\(.)/g, {'\\': '\\', n: '\n', '"': '"'})
      rest = rest.slice(match[0].length)
      if (match[3] === '' && !rest.startsWith('}')) throw new Error(`No comma at: ${rest}`)
    }
    rest = rest.slice(1)
  }
  const number = /^ ([+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN)$/i.exec(rest)?.[1]
  if (number === undefined) throw new Error(`No value: ${line}`)
  return {name, labels, value: Number(number)}
}

function unescaped(text: string, escape: RegExp, known: Record<string, string>): string {
  return text.replace(escape, (sequence, character: string) => {
    const meaning = known[character]
    if (meaning === undefined) throw new Error(`No escape: ${sequence}`)
    return meaning
  })
}
