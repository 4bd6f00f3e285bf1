/** One issue for each job: opened by the first run that fails, closed by the first that works. */
export const reportJob = `  report:
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
          if [ "$(gh api "repos/$GH_REPO" --jq .has_issues)" = false ]; then
            echo '::notice::This repository has no issues, so none is opened. Who watches it is told by GitHub when a run fails.'
            exit
          fi
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
