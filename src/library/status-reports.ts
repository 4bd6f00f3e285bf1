import {dirname} from 'node:path'
import {worstFirst, type StatusFinding} from '../engine/status/finding.js'
import {htmlReport, type DrillRecord} from '../report/status-html.js'
import {prometheusText} from '../report/status-prometheus.js'
import {messageOf, systemCode} from '../support/errors.js'
import {shellWord} from '../support/shell.js'
import type {Context} from './context.js'
import {refuseSameFile, reportTarget, writeReport, type ReportTarget} from './report-file.js'
import type {StatusResult} from './status.js'

/** The files of `StatusOptions`. */
interface ReportOptions {
  html?: string | undefined
  prometheus?: string | undefined
}

/** Where the reports of a status are to go. */
export interface Reports {
  html: ReportTarget | undefined
  prometheus: ReportTarget | undefined
}

/** @throws DbbakError OPTION_INVALID */
export async function reportsOf(
  {html, prometheus}: ReportOptions,
  {cwd}: Pick<Context, 'cwd'>,
): Promise<Reports> {
  const targetOf = async (option: string, path: string | undefined) =>
    path === undefined ? [] : [{option, target: await reportTarget(cwd, option, path)}]
  const [ofHtml, ofPrometheus] = [await targetOf('--html', html), await targetOf('--prometheus', prometheus)]
  await refuseSameFile([...ofHtml, ...ofPrometheus])
  return {html: ofHtml[0]?.target, prometheus: ofPrometheus[0]?.target}
}

/** The page first: that it could not be written is to be among the metrics. */
export async function withReports(
  result: StatusResult,
  {html, prometheus}: Reports,
  drills: DrillRecord[] | undefined,
): Promise<StatusResult> {
  let told = result
  if (html) told = await written(told, html, htmlReport(told, drills))
  if (prometheus) told = await written(told, prometheus, prometheusText(told))
  return told
}

/** A report that is not written leaves an old one in its place, which says that all is well: that is not healthy. */
async function written(result: StatusResult, target: ReportTarget, content: string): Promise<StatusResult> {
  const {path} = target
  try {
    await writeReport(target, content)
    return result
  } catch (error) {
    const finding: StatusFinding = {
      code: 'REPORT_NOT_WRITTEN',
      severity: 'error',
      message: `${path} could not be written: ${systemCode(error) ?? messageOf(error)}.`,
      suggestion: `ls -ld ${shellWord(dirname(path))}`,
    }
    return {...result, healthy: false, findings: worstFirst([...result.findings, finding])}
  }
}
