import {homedir} from 'node:os'
import {pathOf, scheduledOptions} from './cron-file.js'
import {environmentName} from './environment-text.js'
import type {InitPlan, PlannedFile} from './plan.js'
import {localFolders} from './refusals.js'

export const serviceName = 'dbbak-backup.service'
export const timerName = 'dbbak-backup.timer'

export function systemdFiles(plan: InitPlan): PlannedFile[] {
  return [
    {path: serviceName, text: serviceText(plan), mode: 0o644},
    {path: timerName, text: timerText(plan), mode: 0o644},
  ]
}

function serviceText(plan: InitPlan): string {
  const {folder, user, nodeFolder, program, isRoot} = plan
  const writable = localFolders(plan)
  const used = [folder, nodeFolder, program, ...writable]
  // Somebody's own service finds what is in their home, such as .pgpass and .aws; it cannot write there.
  const seesHome = !isRoot || used.some(isHome)
  return `[Unit]
Description=dbbak: back the database up, verify the backup, remove old ones
Documentation=https://www.npmjs.com/package/dbbak
Wants=network-online.target
After=network-online.target
RequiresMountsFor=${[folder, ...writable].map(quoted).join(' ')}
# Who hears of a run that failed: the channels under "notifications" in the config file, or a unit of yours:
# OnFailure=alarm@%n.service

[Service]
Type=oneshot
User=${value(user)}
WorkingDirectory=${value(folder)}
EnvironmentFile=${value(`${folder}/${environmentName}`)}
Environment=${quoted(`PATH=${pathOf(nodeFolder)}`)}
# .pgpass, .pg_service.conf and .aws are looked for in ${isRoot ? folder : `the home folder of ${user}`}; ${environmentName} can name others by
# PGPASSFILE, PGSERVICEFILE and AWS_SHARED_CREDENTIALS_FILE.
${isRoot ? `Environment=${quoted(`HOME=${folder}`)}\n` : ''}Environment=DBBAK_CACHE_DIR=/var/cache/dbbak
CacheDirectory=dbbak
CacheDirectoryMode=0700
UMask=0077
ExecStart=${quoted(program)} ${scheduledOptions}
TimeoutStartSec=6h
Nice=10
IOSchedulingClass=idle

# It reads the whole system, and writes its backups, its cache and temporary files of its own.
ProtectSystem=strict
${writable.map((path) => `ReadWritePaths=${quoted(path)}\n`).join('')}ProtectHome=${seesHome ? 'read-only' : 'yes'}
PrivateTmp=${used.some(isTemporary) ? 'no' : 'yes'}
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
`
}

function timerText({schedule}: InitPlan): string {
  return `[Unit]
Description=dbbak: a backup ${schedule.words} (UTC)

[Timer]
${schedule.onCalendar.map((expression) => `OnCalendar=${expression}`).join('\n')}
# Machines that share a server or a store do not all begin in the same second.
RandomizedDelaySec=10min
# A run that was missed while the machine was off is made up for.
Persistent=true

[Install]
WantedBy=timers.target
`
}

const isHome = (path: string): boolean =>
  ['/home/', '/root/', '/run/user/', `${homedir()}/`].some((home) => `${path}/`.startsWith(home))

const isTemporary = (path: string): boolean =>
  ['/tmp/', '/var/tmp/'].some((folder) => path.startsWith(folder))

/** In unit files % begins a specifier. */
const value = (text: string): string => text.replaceAll('%', '%%')

const quoted = (text: string): string => `"${value(text).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
