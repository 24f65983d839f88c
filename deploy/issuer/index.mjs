// An identity provider FOR TRYING: whatever name is typed into its form is that person, without a
// password, and all it knows is gone when it ends. Set each line below with your own provider too;
// docs/team.md says what they are called there.
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const { ISSUER = 'http://127.0.0.1:9000', SCOPE = 'meigen', SECONDS = '600', KEYS } = process.env;

function newKeys() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = Math.random().toString(36).slice(2);
  return { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid }] };
}

// With KEYS, a file, the keys outlive a restart; the first signs, all are published.
const made = KEYS && existsSync(KEYS) ? JSON.parse(readFileSync(KEYS, 'utf8')) : newKeys();
if (KEYS && !existsSync(KEYS)) writeFileSync(KEYS, JSON.stringify(made), { mode: 0o600 });

const provider = new Provider(ISSUER, {
  jwks: made,
  scopes: ['openid', 'offline_access', SCOPE],
  claims: { openid: ['sub'] },
  cookies: { keys: [Math.random().toString(36)] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: true }, // the form that takes any name
    registration: { enabled: true }, // clients register themselves: off by default
    resourceIndicators: {
      enabled: true, // its default refuses every resource
      getResourceServerInfo: (ctx, resource) => ({
        scope: SCOPE,
        audience: resource,
        accessTokenTTL: Number(SECONDS),
        accessTokenFormat: 'jwt', // an opaque one cannot be read
        jwt: { sign: { alg: 'RS256' } },
      }),
      useGrantedResource: () => true,
    },
  },
});

provider.listen(Number(new URL(ISSUER).port || 80), () => console.log(`issuer ${ISSUER}`));
