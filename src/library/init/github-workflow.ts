import type {InitPlan} from './plan.js'

/**
 * The actions that the workflow uses, by full commit: a tag can be moved to other code, a commit cannot.
 */
export const pinned = {
  checkout: 'actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8 # v6.0.1',
  setupNode: 'actions/setup-node@395ad3262231945c25e8478fd5baf05154b1d79f # v6.1.0',
  uploadArtifact: 'actions/upload-artifact@b7c566a772e6b6bfb58ed0dc250532a479d7789f # v6.0.0',
}

export const workflowPath = '.github/workflows/database-backup.yml'

const usualVerification = '0 3 * * 0'

/** The workflow of GitHub Actions: a backup every day, all recent ones verified every week, one issue on failure. */
export function workflowText({schedule, keepDays, version}: InitPlan): string {
  const verification = schedule.cron === usualVerification ? '0 5 * * 0' : usualVerification
  return template
    .replaceAll('%{', '${')
    .replaceAll('<SCHEDULE>', schedule.cron)
    .replaceAll('<VERIFICATION>', verification)
    .replaceAll('<DAYS>', String(Math.min(keepDays, 90))) // GitHub keeps nothing for longer
    .replaceAll('<DBBAK>', `dbbak@${version}`)
}

/** Secrets and variables of the clouds; those that are not set arrive as empty, and would be taken for values. */
const cloud = `          AWS_REGION: %{{ vars.AWS_REGION }}
          AWS_ENDPOINT_URL_S3: %{{ vars.AWS_ENDPOINT_URL_S3 }}
          AWS_S3_BUCKET: %{{ vars.AWS_S3_BUCKET }}
          AWS_S3_PREFIX: %{{ vars.AWS_S3_PREFIX }}
          AWS_ACCESS_KEY_ID: %{{ secrets.AWS_ACCESS_KEY_ID }}
          AWS_SECRET_ACCESS_KEY: %{{ secrets.AWS_SECRET_ACCESS_KEY }}
          GCS_BUCKET: %{{ vars.GCS_BUCKET }}
          GCS_PREFIX: %{{ vars.GCS_PREFIX }}
          GCS_SERVICE_ACCOUNT_KEY: %{{ secrets.GCS_SERVICE_ACCOUNT_KEY }}
          AZURE_STORAGE_CONTAINER: %{{ vars.AZURE_STORAGE_CONTAINER }}
          AZURE_STORAGE_PREFIX: %{{ vars.AZURE_STORAGE_PREFIX }}
          AZURE_STORAGE_CONNECTION_STRING: %{{ secrets.AZURE_STORAGE_CONNECTION_STRING }}`

const cloudCredentials = `for name in AWS_REGION AWS_ENDPOINT_URL_S3 AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AZURE_STORAGE_CONNECTION_STRING; do
            if [ -z "%{!name}" ]; then unset "$name"; fi
          done
          if [ -n "$GCS_SERVICE_ACCOUNT_KEY" ]; then
            (umask 077 && printf '%s' "$GCS_SERVICE_ACCOUNT_KEY" > "$RUNNER_TEMP/gcs-key.json")
            export GOOGLE_APPLICATION_CREDENTIALS="$RUNNER_TEMP/gcs-key.json"
          fi
          unset GCS_SERVICE_ACCOUNT_KEY`

const prepare = `      - uses: ${pinned.checkout}
        with:
          persist-credentials: false
      - uses: ${pinned.setupNode}
        with:
          node-version: 24
          package-manager-cache: false
      # Before any secret is there: packages that are fetched later would see them.
      - name: Fetch dbbak
        run: npx --yes <DBBAK> --version`

/** PostgreSQL's own packages; the server program is for the restore test, and starts no cluster by itself. */
const installTools = `      - name: Install PostgreSQL %{{ steps.server.outputs.major }}
        env:
          MAJOR: %{{ steps.server.outputs.major }}
          # Extensions that the restore test needs, for example: postgresql-17-postgis-3
          PACKAGES: %{{ vars.DATABASE_BACKUP_PACKAGES }}
        run: |
          sudo apt-get update -q
          sudo apt-get install -y -q --no-install-recommends postgresql-common ca-certificates
          sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
          echo 'create_main_cluster = false' | sudo tee /etc/postgresql-common/createcluster.conf > /dev/null
          read -ra packages <<< "$PACKAGES"
          sudo apt-get install -y -q --no-install-recommends \\
            "postgresql-client-$MAJOR" "postgresql-$MAJOR" "%{packages[@]}"`

const template = `# Written by dbbak init --github. Backs the database up every day and verifies what it took; verifies all recent
# backups every Sunday; opens one issue when something fails, and closes it when it works again.
#
# Secret to set:       DATABASE_URL               gh secret set DATABASE_URL
# For a cloud too:     variable AWS_S3_BUCKET, GCS_BUCKET or AZURE_STORAGE_CONTAINER, and its credentials (below)
# To switch it off:    gh variable set DATABASE_BACKUP --body off
#
# GitHub stops schedules of public repositories after 60 days without a commit: watch the age of the newest backup
# from elsewhere too, for example with: dbbak status --max-age 26h
name: database-backup

on:
  schedule:
    - cron: '<SCHEDULE>' # back up (UTC)
    - cron: '<VERIFICATION>' # verify all recent backups (UTC)
  workflow_dispatch:
    inputs:
      task:
        description: What to do
        type: choice
        options: [backup, verify]
        default: backup
      upload:
        description: Upload the backup to the cloud too
        type: boolean
        default: false

permissions:
  contents: read

# A run waits for the one before; a backup that is under way is never cancelled.
concurrency:
  group: database-backup-%{{ github.event.schedule == '<VERIFICATION>' && 'verify' || inputs.task || 'backup' }}
  cancel-in-progress: false

defaults:
  run:
    shell: bash

jobs:
  backup:
    name: Back up
    if: vars.DATABASE_BACKUP != 'off' && github.event.schedule != '<VERIFICATION>' && inputs.task != 'verify'
    runs-on: ubuntu-24.04
    timeout-minutes: 180
    steps:
${prepare}
      - name: Decide where the backup may go
        id: place
        env:
          GH_TOKEN: %{{ github.token }}
          EVENT: %{{ github.event_name }}
          UPLOAD: %{{ inputs.upload }}
          BUCKETS: %{{ vars.AWS_S3_BUCKET }}%{{ vars.GCS_BUCKET }}%{{ vars.AZURE_STORAGE_CONTAINER }}
        run: |
          upload=false
          if [ "$UPLOAD" = true ] || { [ "$EVENT" = schedule ] && [ -n "$BUCKETS" ]; }; then upload=true; fi
          artifact=true
          if [ "$(gh api "repos/$GITHUB_REPOSITORY" --jq .visibility)" = public ]; then
            artifact=false
            if [ "$upload" = false ]; then
              echo '::error title=No place for the backup::Everybody can download the artifacts of a public repository. Make it private, or set AWS_S3_BUCKET, GCS_BUCKET or AZURE_STORAGE_CONTAINER and upload.'
              exit 1
            fi
            echo '::notice::This repository is public, so the backup goes to the cloud and is not kept as an artifact.'
          fi
          echo "upload=$upload" >> "$GITHUB_OUTPUT"
          echo "artifact=$artifact" >> "$GITHUB_OUTPUT"
      - name: Ask the server its version
        id: server
        env:
          DATABASE_URL: %{{ secrets.DATABASE_URL }}
        run: |
          if [ -z "$DATABASE_URL" ]; then
            echo '::error title=DATABASE_URL is not set::Set the secret: gh secret set DATABASE_URL'
            exit 1
          fi
          # Tools that are not installed yet are no error here, so this is not to be told as one.
          unset GITHUB_ACTIONS GITHUB_STEP_SUMMARY
          echo '{}' > "$RUNNER_TEMP/no-settings.json"
          npx --yes <DBBAK> doctor --json --config "$RUNNER_TEMP/no-settings.json" > "$RUNNER_TEMP/doctor.json" || true
          database() { jq -r ".checks[]? | select(.name == \\"database\\") | $1" "$RUNNER_TEMP/doctor.json"; }
          major=$(database '.message | capture(": PostgreSQL (?<major>[0-9]+)") | .major')
          if [ -z "$major" ]; then
            echo '::error title=The database cannot be reached::The lines below say why.'
            database '"  \\(.message)", "  \\(.fix // empty)"'
            exit 1
          fi
          echo "major=$major" >> "$GITHUB_OUTPUT"
${installTools}
      - name: Back up
        env:
          DATABASE_URL: %{{ secrets.DATABASE_URL }}
          UPLOAD: %{{ steps.place.outputs.upload }}
${cloud}
        run: |
          ${cloudCredentials}
          options=(--to backups)
          if [ "$UPLOAD" = true ]; then options+=(--upload); fi
          npx --yes <DBBAK> backup "%{options[@]}"
      # A backup that is complete is verified and kept, also where another destination failed.
      - name: Verify by restoring it
        if: "!cancelled() && hashFiles('backups/*.metadata.json') != ''"
        env:
          DATABASE_URL: %{{ secrets.DATABASE_URL }}
          TEST_DATABASE_URL: %{{ secrets.TEST_DATABASE_URL }}
        run: npx --yes <DBBAK> verify --latest --from backups --level restore
      - name: Keep the backup
        if: always() && steps.place.outputs.artifact == 'true' && hashFiles('backups/*.metadata.json') != ''
        uses: ${pinned.uploadArtifact}
        with:
          name: database-backup-%{{ github.run_attempt }}
          path: backups/
          retention-days: <DAYS>
          compression-level: 0
          if-no-files-found: error

  verify:
    name: Verify recent backups
    if: vars.DATABASE_BACKUP != 'off' && (github.event.schedule == '<VERIFICATION>' || inputs.task == 'verify')
    runs-on: ubuntu-24.04
    timeout-minutes: 180
    permissions:
      contents: read
      actions: read
    steps:
${prepare}
      - name: Fetch the backups of the last eight days
        env:
          GH_TOKEN: %{{ github.token }}
${cloud}
        run: |
          ${cloudCredentials}
          mkdir -p backups
          from=
          if [ -n "$AWS_S3_BUCKET" ]; then from="s3://$AWS_S3_BUCKET/$AWS_S3_PREFIX"
          elif [ -n "$GCS_BUCKET" ]; then from="gs://$GCS_BUCKET/$GCS_PREFIX"
          elif [ -n "$AZURE_STORAGE_CONTAINER" ]; then from="azblob://$AZURE_STORAGE_CONTAINER/$AZURE_STORAGE_PREFIX"
          fi
          if [ -n "$from" ]; then
            npx --yes <DBBAK> copy --since 8d --from "$from" --to backups
            exit
          fi
          # Only runs of this branch that a schedule or a hand began: a pull request can bring artifacts of any name.
          since=$(date -u -d '8 days ago' +%Y-%m-%dT%H:%M:%SZ)
          for event in schedule workflow_dispatch; do
            gh api --paginate -X GET "repos/$GITHUB_REPOSITORY/actions/workflows/database-backup.yml/runs" \\
              -f event="$event" -f branch="$GITHUB_REF_NAME" -f created=">=$since" --jq '.workflow_runs[].id'
          done > "$RUNNER_TEMP/runs"
          while read -r run; do
            gh api --paginate "repos/$GITHUB_REPOSITORY/actions/runs/$run/artifacts" \\
              --jq '.artifacts[] | select(.expired | not) | .name | select(startswith("database-backup-"))' \\
              > "$RUNNER_TEMP/artifacts"
            while read -r name; do
              gh run download "$run" --repo "$GITHUB_REPOSITORY" --name "$name" --dir backups < /dev/null
            done < "$RUNNER_TEMP/artifacts"
          done < "$RUNNER_TEMP/runs"
      - name: See which server they are of
        id: server
        run: |
          if ! compgen -G 'backups/*.metadata.json' > /dev/null; then
            echo '::error title=No backup::There is no backup of the last eight days to verify.'
            exit 1
          fi
          major=$(jq -rs 'map(.database.serverVersion | split(".")[0] | tonumber) | max' backups/*.metadata.json)
          echo "major=$major" >> "$GITHUB_OUTPUT"
${installTools}
      - name: Verify all by restoring them
        env:
          DATABASE_URL: %{{ secrets.DATABASE_URL }}
          TEST_DATABASE_URL: %{{ secrets.TEST_DATABASE_URL }}
        run: |
          status=0
          npx --yes <DBBAK> verify --all --from backups --level restore --json > verification.json || status=$?
          {
            echo '| Backup | Verdict | Level |'
            echo '| --- | --- | --- |'
            jq -r '.results[]? | "| \\(.id) | \\(.verdict) | \\(.level) |"' verification.json
          } | tee -a "$GITHUB_STEP_SUMMARY"
          exit "$status"
      - name: Keep the report
        if: always() && hashFiles('verification.json') != ''
        uses: ${pinned.uploadArtifact}
        with:
          name: verification-report-%{{ github.run_attempt }}
          path: verification.json
          retention-days: 90

  report:
    name: Report
    needs: [backup, verify]
    if: always() && vars.DATABASE_BACKUP != 'off'
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    permissions:
      issues: write
    steps:
      - name: Open, update or close the issue
        env:
          GH_TOKEN: %{{ github.token }}
          GH_REPO: %{{ github.repository }}
          BACKUP: %{{ needs.backup.result }}
          VERIFY: %{{ needs.verify.result }}
        run: |
          run="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID"
          report() {
            local result=$1 label=$2 title=$3 advice=$4 issue
            if [ "$result" = skipped ]; then return; fi
            issue=$(gh issue list --label "$label" --state open --limit 1 --json number --jq '.[0].number // empty')
            if [ "$result" = success ]; then
              if [ -n "$issue" ]; then gh issue close "$issue" --comment "It works again: $run"; fi
            elif [ -n "$issue" ]; then
              gh issue comment "$issue" --body "Failed again ($result): $run"
            else
              gh label create "$label" --color B60205 --description 'Kept by the database-backup workflow' --force
              gh issue create --label "$label" --title "$title" --body "The run that failed ($result): $run

          $advice

          This issue is updated by each run that fails, and closed by the first that works."
            fi
          }
          report "$BACKUP" database-backup-failed 'The database backup failed' \\
            'See the step that failed for what to do. To try again: \`gh workflow run database-backup.yml\`'
          report "$VERIFY" database-verification-failed 'A backup could not be verified' \\
            'Do not count on that backup. Take a new one: \`gh workflow run database-backup.yml\`'
`
