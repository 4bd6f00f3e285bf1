import type {Environment} from './channel.js'

/** The page of the CI run that dbbak is part of, where the environment tells. */
export function runUrlOf(env: Environment): string | undefined {
  const {GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run} = env
  const github = server && repository && run ? `${server}/${repository}/actions/runs/${run}` : undefined
  const {SYSTEM_COLLECTIONURI: collection, SYSTEM_TEAMPROJECT: project, BUILD_BUILDID: build} = env
  const azure =
    collection && project && build
      ? `${collection}${encodeURIComponent(project)}/_build/results?buildId=${build}`
      : undefined
  const told = [
    github,
    azure,
    env.CI_JOB_URL, // GitLab
    env.CIRCLE_BUILD_URL,
    env.BUILDKITE_BUILD_URL,
    env.BUILD_URL, // Jenkins
  ]
  return told.map(plainUrl).find((url) => url !== undefined)
}

/** Without a login. */
function plainUrl(text: string | undefined): string | undefined {
  const url = URL.parse(text ?? '')
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined
  url.username = ''
  url.password = ''
  return url.href.length <= longestUrl ? url.href : undefined
}

const longestUrl = 1000
