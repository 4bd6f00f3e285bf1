import {homedir} from 'node:os'
import {resolve} from 'node:path'
import {parseDestination} from '../../storage/open-provider.js'
import {pathOf, scheduledCommand} from './cron-file.js'
import {environmentName} from './environment-text.js'
import type {InitPlan, PlannedFile} from './plan.js'

export const serviceName = 'dbbak-backup.service'
export const timerName = 'dbbak-backup.timer'

export function systemdFiles(plan: InitPlan): PlannedFile[] {
  return [
    {path: serviceName, text: serviceText(plan), mode: 0o644},
    {path: timerName, text: timerText(plan), mode: 0o644},
  ]
}

/** The folders that backups go to; a service that may write nowhere else has to be told. */
export function localFolders({destinations, folder}: InitPlan): string[] {
  return destinations.flatMap((destination) => {
    const parsed = parseDestination(destination)
    return parsed.kind === 'local' ? [resolve(folder, parsed.path)] : []
  })
}

function serviceText(plan: InitPlan): string {
  const {folder, user, nodeFolder} = plan
  const writable = localFolders(plan)
  const seesHome = [folder, nodeFolder, ...writable].some(isHome)
  return `[Unit]
Description=dbbak: back the database up, verify the backup, remove old ones
Documentation=https://www.npmjs.com/package/dbbak
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User=${value(user)}
WorkingDirectory=${value(folder)}
EnvironmentFile=${value(`${folder}/${environmentName}`)}
Environment=${quoted(`PATH=${pathOf(nodeFolder)}`)}
Environment=HOME=/var/cache/dbbak DBBAK_CACHE_DIR=/var/cache/dbbak
CacheDirectory=dbbak
CacheDirectoryMode=0700
UMask=0077
ExecStart=/usr/bin/env ${scheduledCommand}
TimeoutStartSec=6h
Nice=10
IOSchedulingClass=idle

# It reads the whole system, and writes its backups, its cache and temporary files of its own.
ProtectSystem=strict
${writable.map((path) => `ReadWritePaths=${quoted(path)}\n`).join('')}ProtectHome=${seesHome ? 'read-only' : 'yes'}
PrivateTmp=yes
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

/** In unit files % begins a specifier. */
const value = (text: string): string => text.replaceAll('%', '%%')

const quoted = (text: string): string => `"${value(text).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
