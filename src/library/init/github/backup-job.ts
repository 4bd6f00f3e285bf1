import {cloud, cloudCredentials, installTools, pinned, prepare} from './steps.js'

/** Takes a backup, restores it, and keeps it. */
export const backupJob = `  backup:
    name: Back up
    if: vars.DATABASE_BACKUP != 'off' && github.event.schedule != '<VERIFICATION>' && inputs.task != 'verify'
    runs-on: ubuntu-24.04
    timeout-minutes: 180
<IN-FOLDER>    steps:
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
          options=(--globals --to backups)
          if [ "$UPLOAD" = true ]; then options+=(--upload); fi
          npx --yes <DBBAK> backup "%{options[@]}"
      # A backup that is complete is verified and kept, also where another destination failed.
      - name: Verify by restoring it
        if: "!cancelled() && hashFiles('<FOLDER>backups/*.metadata.json') != ''"
        env:
          DATABASE_URL: %{{ secrets.DATABASE_URL }}
          TEST_DATABASE_URL: %{{ secrets.TEST_DATABASE_URL }}
        run: npx --yes <DBBAK> verify --latest --from backups --level restore
      - name: Keep the backup
        if: always() && steps.place.outputs.artifact == 'true' && hashFiles('<FOLDER>backups/*.metadata.json') != ''
        uses: ${pinned.uploadArtifact}
        with:
          name: database-backup-%{{ github.run_attempt }}
          path: <FOLDER>backups/
          retention-days: <DAYS>
          compression-level: 0
          if-no-files-found: error
`
