import {cloud, cloudCredentials, installTools, pinned, prepare} from './steps.js'

/** Fetches the recent backups and restores them all; one that is damaged does not stop the others. */
export const verifyJob = `  verify:
    name: Verify recent backups
    if: vars.DATABASE_BACKUP != 'off' && (github.event.schedule == '<VERIFICATION>' || inputs.task == 'verify')
    runs-on: ubuntu-24.04
    timeout-minutes: 180
    permissions:
      contents: read
      actions: read
<IN-FOLDER>    steps:
${prepare}
      # What cannot be fetched, or is damaged, does not stop the verification of the others; it is told at the end.
      - name: Fetch the backups of the last eight days
        id: fetch
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
            status=0
            npx --yes <DBBAK> copy --since 8d --from "$from" --to backups || status=$?
            echo "status=$status" >> "$GITHUB_OUTPUT"
            exit
          fi
          # Only runs of this branch that a schedule or a hand began: a pull request can bring artifacts of any name.
          since=$(date -u -d '8 days ago' +%Y-%m-%dT%H:%M:%SZ)
          for event in schedule workflow_dispatch; do
            gh api --paginate -X GET "repos/$GITHUB_REPOSITORY/actions/workflows/database-backup.yml/runs" \\
              -f event="$event" -f branch="$GITHUB_REF_NAME" -f created=">=$since" --jq '.workflow_runs[].id'
          done > "$RUNNER_TEMP/runs"
          status=0
          while read -r run; do
            gh api --paginate "repos/$GITHUB_REPOSITORY/actions/runs/$run/artifacts" \\
              --jq '.artifacts[] | select(.expired | not) | .name | select(startswith("database-backup-"))' \\
              > "$RUNNER_TEMP/artifacts"
            while read -r name; do
              gh run download "$run" --repo "$GITHUB_REPOSITORY" --name "$name" --dir backups < /dev/null || {
                status=1
                echo "::error title=Not fetched::The artifact $name of the run $run could not be downloaded."
              }
            done < "$RUNNER_TEMP/artifacts"
          done < "$RUNNER_TEMP/runs"
          echo "status=$status" >> "$GITHUB_OUTPUT"
      - name: See which server they are of
        id: server
        run: |
          if ! compgen -G 'backups/*.metadata.json' > /dev/null; then
            echo '::error title=No backup::There is no backup of the last eight days to verify.'
            exit 1
          fi
          # A manifest that is damaged says nothing here; the verification tells of it.
          major=$(for manifest in backups/*.metadata.json; do
            jq -r '.database.serverVersion | split(".")[0] | tonumber' "$manifest" 2> /dev/null || true
          done | sort -n | tail -n 1)
          if [ -z "$major" ]; then
            echo '::error title=No manifest can be read::See the files: dbbak list --incomplete'
            exit 1
          fi
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
        if: always() && hashFiles('<FOLDER>verification.json') != ''
        uses: ${pinned.uploadArtifact}
        with:
          name: verification-report-%{{ github.run_attempt }}
          path: <FOLDER>verification.json
          retention-days: 90
      - name: Tell of what could not be fetched
        if: "!cancelled() && steps.fetch.outputs.status != '0'"
        env:
          STATUS: %{{ steps.fetch.outputs.status }}
        run: |
          echo '::error title=Not all were fetched::A backup is damaged or could not be fetched, see the step that fetches. The others were verified.'
          exit "%{STATUS:-1}"
`
