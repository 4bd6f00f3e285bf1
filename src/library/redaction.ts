/**
 * The last line of defence: masks passwords in anything that is about to be shown, in whatever form a connection
 * can be written. It masks too much rather than too little.
 */
export function redactSecrets(text: string): string {
  return text
    .replace(userInformation, (_, scheme: string, user: string) => `${scheme}${user}:${mask}@`)
    .replace(passwordParameter, (_, key: string) => `${key}${mask}`)
    .replace(accountKey, (_, key: string) => `${key}${mask}`)
}

export const mask = '***'

/**
 * scheme://user:password@ — the password reaches to the last @ of the word: it may hold any of : / ? # @ itself. What
 * stands before a scheme of 40 letters is left alone: without a bound a long word is looked at anew from each letter.
 */
const userInformation = /([a-z][a-z0-9+.-]{0,40}:\/\/)([^\s:/?#@]*):[^\s"'`]*@/gi

/** password=… in a URL's query or in libpq's key/value form, where the value may be quoted. */
const passwordParameter = /\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&"']+)/gi

/** What Azure's connection strings call their secrets. */
const accountKey = /\b((?:AccountKey|SharedAccessSignature|sig)=)[^\s;&"']+/gi

/** Masks the values of variables that hold secrets by their name. */
export function hideSecretValues(text: string, env: Record<string, string | undefined>): string {
  return Object.entries(env).reduce(
    (hidden, [name, value]) =>
      value !== undefined && value.length >= 4 && secretName.test(name)
        ? hidden.replaceAll(value, mask)
        : hidden,
    text,
  )
}

const secretName =
  /PASS|SECRET|TOKEN|_KEY|CREDENTIAL|CONNECTION_STRING|DATABASE_URL|WEBHOOK_URL|SMTP_URL|PING_URL/
