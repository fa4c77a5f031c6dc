// An OpenID provider at which people sign in by saying who they are: node server.mjs PORT RATCHET'S-ADDRESS
import { generateKeyPairSync, randomBytes } from "node:crypto";
import Provider from "oidc-provider";

const [port, ratchet] = process.argv.slice(2);
const redirect_uris = [`${ratchet}/sign-in/done`];
const people = {
  anna: { preferred_username: "anna", roles: ["viewer", "administrator", "owner"], tenants: ["north", "south"] },
  "7f3a": { preferred_username: "ben", roles: "operator", tenants: "*", only: "userinfo" },
  carl: { preferred_username: "carl", roles: ["owner"], tenants: ["north"] },
  dora: { preferred_username: "dora", roles: ["viewer"], tenants: Array.from({ length: 300 }, (_, i) => `tenant-${i}`) },
};

function claimsOf(sub, use) {
  const { only, ...claims } = people[sub];
  return only === undefined || only === use ? { sub, ...claims } : { sub };
}

async function grantAll({ oidc }) {
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope("openid profile");
  await grant.save();
  return grant;
}

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    { client_id: "ratchet", client_secret: "between us, thirty-two letters long", redirect_uris },
    { client_id: "ratchet-public", token_endpoint_auth_method: "none", redirect_uris },
  ],
  claims: { openid: ["sub"], profile: ["preferred_username", "roles", "tenants"] },
  conformIdTokenClaims: false,
  cookies: { keys: [randomBytes(32).toString("hex")] },
  features: { devInteractions: { enabled: false } },
  findAccount: (_, sub) => people[sub] && { accountId: sub, claims: (use) => claimsOf(sub, use) },
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  jwks: { keys: [generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" })] },
  loadExistingGrant: grantAll,
  pkce: { required: () => true },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const who = ctx.query.as;
  const result = who === "nobody" ? { error: "access_denied" } : { login: { accountId: who } };
  await provider.interactionFinished(ctx.req, ctx.res, result);
  ctx.respond = false;
});

provider.listen(Number(port), "127.0.0.1");
