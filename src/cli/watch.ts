import {gitHubScreen} from './progress-github.js'
import {linesScreen} from './progress-lines.js'
import {liveScreen} from './progress-live.js'
import {narrate, type Watcher} from './narrate.js'

export interface WatchOptions {
  isQuiet: boolean
  isVerbose: boolean
  /** The command, as a heading: "dbbak backup". */
  title: string
  env: NodeJS.ProcessEnv
  stream: NodeJS.WriteStream
}

/** Picks how progress is shown: not at all, for a GitHub job, live on a terminal, or as lines in a log. */
export function watch(options: WatchOptions): Watcher {
  const {env, stream, isVerbose} = options
  if (options.isQuiet) return {note: () => {}, close: () => {}}
  if (env.GITHUB_ACTIONS === 'true') return narrate(gitHubScreen(stream, env, options.title), {isVerbose})
  // A terminal that does not know its width (0 columns, as `script` and some CI give) has no place for a moving line.
  const isLive = stream.isTTY && stream.columns > 0 && env.TERM !== 'dumb' && !env.CI
  return narrate(isLive ? liveScreen(stream, env) : linesScreen(stream, env), {isVerbose})
}
