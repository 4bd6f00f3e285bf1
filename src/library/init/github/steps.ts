/** What the jobs of the workflow share. `%{` stands for `${`, and `<NAME>` for what is chosen. */

/**
 * The actions that the workflow uses, by full commit: a tag can be moved to other code, a commit cannot.
 */
export const pinned = {
  checkout: 'actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8 # v6.0.1',
  setupNode: 'actions/setup-node@395ad3262231945c25e8478fd5baf05154b1d79f # v6.1.0',
  uploadArtifact: 'actions/upload-artifact@b7c566a772e6b6bfb58ed0dc250532a479d7789f # v6.0.0',
}

/** Secrets and variables of the clouds; those that are not set arrive as empty, and would be taken for values. */
export const cloud = `          AWS_REGION: %{{ vars.AWS_REGION }}
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

export const cloudCredentials = `for name in AWS_REGION AWS_ENDPOINT_URL_S3 AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AZURE_STORAGE_CONNECTION_STRING; do
            if [ -z "%{!name}" ]; then unset "$name"; fi
          done
          if [ -n "$GCS_SERVICE_ACCOUNT_KEY" ]; then
            (umask 077 && printf '%s' "$GCS_SERVICE_ACCOUNT_KEY" > "$RUNNER_TEMP/gcs-key.json")
            export GOOGLE_APPLICATION_CREDENTIALS="$RUNNER_TEMP/gcs-key.json"
          fi
          unset GCS_SERVICE_ACCOUNT_KEY`

export const prepare = `      - uses: ${pinned.checkout}
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
export const installTools = `      - name: Install PostgreSQL %{{ steps.server.outputs.major }}
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
