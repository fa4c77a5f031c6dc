// Types made of each schema, which the topic's examples must fit: given a folder of contracts, prints what tsc says.
import { readdirSync, readFileSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { basename, join } from 'node:path';
import { compile } from 'json-schema-to-typescript';

const [contracts, wrong] = process.argv.slice(2);
const work = mkdtempSync('types-');
for (const file of readdirSync(join(contracts, 'schemas'))) {
  const name = basename(file, '.json');
  const types = await compile(JSON.parse(readFileSync(join(contracts, 'schemas', file), 'utf8')), 'Root', { bannerComment: '' });
  const made = [...types.matchAll(/^export (?:interface|type) (\w+)/gm)].map((found) => found[1]);
  const title = JSON.parse(readFileSync(join(contracts, 'schemas', file), 'utf8')).title;
  const root = made.includes(title) ? title : made.includes('Root') ? 'Root' : made[0];
  const examples = readdirSync(join(contracts, 'examples')).filter((one) => one === file || one.startsWith(`${name}.`));
  const uses = examples.map((one, number) => {
    const text = readFileSync(join(contracts, 'examples', one), 'utf8');
    return `export const example${number}: ${root} = ${wrong ? text.replace(/"message_id": "[^"]*"/, '"message_id": 1') : text};`;
  });
  writeFileSync(join(work, `${name}.ts`), `${types}\n${uses.join('\n')}\n`);
  console.log(JSON.stringify({ schema: name, type: root, examples: examples.length }));
}
const sources = readdirSync(work).map((file) => join(work, file));
const said = spawnSync('npx', ['tsc', '--strict', '--noEmit', '--target', 'es2022', ...sources], { encoding: 'utf8' });
rmSync(work, { recursive: true });
process.stderr.write(said.stdout + said.stderr);
process.exit(said.status);
