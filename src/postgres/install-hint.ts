import {readFileSync} from 'node:fs'

/** How to get the client tools of a major version on this system: one sentence with a command to type. */
export function installHint(major: number): string {
  switch (process.platform) {
    case 'darwin':
      return `Install them: brew install postgresql@${major}`
    case 'win32':
      return `Install them: winget install PostgreSQL.PostgreSQL.${major}`
    default:
      return linuxHint(major, osRelease())
  }
}

/** @param release the text of /etc/os-release */
export function linuxHint(major: number, release: string): string {
  const ids = [...release.matchAll(/^(?:ID|ID_LIKE)=(.*)$/gm)].flatMap(([, value = '']) =>
    value.replace(/"/g, '').split(' '),
  )
  if (ids.includes('alpine')) return `Install them: apk add postgresql${major}-client`
  if (ids.includes('debian') || ids.includes('ubuntu')) return debianHint(major, release)
  if (ids.some((id) => ['rhel', 'fedora', 'centos'].includes(id))) {
    return `Install them: dnf install postgresql${major} (from the PGDG repository, see postgresql.org/download/linux/redhat)`
  }
  if (ids.includes('arch')) return 'Install them: pacman -S postgresql-libs'
  return `Install the PostgreSQL ${major} client programs; see postgresql.org/download`
}

/** Majors that come with the release itself; others are in the PGDG repository. */
const ownMajor: Record<string, number> = {bullseye: 13, bookworm: 15, trixie: 17, jammy: 14, noble: 16}

function debianHint(major: number, release: string): string {
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(release)?.[1] ?? ''
  const install = `apt-get install postgresql-client-${major}`
  if (ownMajor[codename] === major) return `Install them: sudo ${install}`
  return (
    'Install them from the PostgreSQL project: sudo apt-get install -y postgresql-common && ' +
    `sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && sudo ${install}`
  )
}

function osRelease(): string {
  try {
    return readFileSync('/etc/os-release', 'utf8')
  } catch {
    return ''
  }
}
