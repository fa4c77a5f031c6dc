// What AsyncAPI's own parser says of a document: one line of JSON for each finding, and the number of channels.
import { Parser, fromFile } from '@asyncapi/parser';

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
for (const { severity, path, message } of diagnostics) console.log(JSON.stringify({ severity, path: path.join('/'), message }));
console.log(JSON.stringify({ channels: document ? document.allChannels().length : 0 }));
