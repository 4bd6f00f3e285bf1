/** One thing that was looked at. */
export interface DoctorCheck {
  name: string
  status: 'ok' | 'warning' | 'error' | 'not-set'
  message: string
  /** The command or change that mends it. */
  fix?: string
}
