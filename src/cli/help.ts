import {type Command, CommandHelp, Help} from '@oclif/core'
import {type ExitCode, exitStatus} from '../support/errors.js'

/** What every command can end with. */
const commonCodes: ExitCode[] = [0, 1, 2, 130, 143]

/** oclif's help and one section more: how the command can end. */
export default class DbbakHelp extends Help {
  protected override CommandHelpClass = HelpWithExitStatus
}

class HelpWithExitStatus extends CommandHelp {
  protected override sections(): ReturnType<CommandHelp['sections']> {
    const {exitCodes} = this.command as Command.Loadable & {exitCodes?: readonly ExitCode[]}
    return [...super.sections(), {header: 'EXIT STATUS', generate: () => exitStatusHelp(exitCodes ?? [])}]
  }
}

/** One line an exit code, those that every command has included. */
export function exitStatusHelp(codes: readonly ExitCode[]): string {
  const all = [...new Set([...commonCodes, ...codes])].sort((one, other) => one - other)
  return all.map((code) => `${String(code).padStart(3)}  ${exitStatus[code]}`).join('\n')
}
