#!/usr/bin/env node
// Parses and analyses KQL with Microsoft's own language service: kql.js FOLDER_OF_NODE_MODULES FILE..
//
// Blocks stand between empty lines. What a block creates is known to those after it, so a wrong column, type or function
// is an error here as it is in the service. Exits with 1 if there is any.
'use strict';
const fs = require('fs');
const path = require('path');

const [modules, ...files] = process.argv.slice(2);
for (const script of ['bridge.min.js', 'Kusto.Language.Bridge.min.js']) {
  // They are scripts for a page and want the global scope.
  (0, eval)(fs.readFileSync(path.join(modules, '@kusto/language-service-next', script), 'utf8'));
}
const { KustoCode, GlobalState, Symbols } = globalThis.Kusto.Language;

const created = [];
let errors = 0;

function analyse(text, report = true) {
  const database = new Symbols.DatabaseSymbol.ctor('tokenweir', [...created]);
  const code = KustoCode.ParseAndAnalyze(text, GlobalState.Default.WithDatabase(database));
  const found = code.GetDiagnostics();
  for (let n = 0; report && n < found.Count; n++) {
    const { Severity, Code, Message, Start } = found.getItem(n);
    if (Severity !== 'Suggestion') {
      errors++;
      console.log(`${Severity} ${Code}: ${Message} -- at: ${text.substr(Start, 70).replace(/\s+/g, ' ')}`);
    }
  }
  return code;
}

// A function's body, with its parameters as values of their types.
function body(parameters, text) {
  const values = parameters.split(',').filter(Boolean).map((parameter) => parameter.split(':').map((part) => part.trim()));
  return values.map(([name, type]) => `let ${name} = ${type}(null);\n`).join('') + text;
}

function remember(text) {
  let found;
  if ((found = /^\.create table (\w+)\s*\(([^)]*)\)$/s.exec(text))) {
    created.push(new Symbols.TableSymbol.$ctor7(found[1], `(${found[2]})`, null));
  } else if ((found = /^\.create materialized-view .*?(\w+) on table \w+\s*\{(.*)\}$/s.exec(text))) {
    created.push(analyse(found[2]).ResultType.WithName(found[1]));
  } else if ((found = /^\.create-or-alter function (\w+)\s*\(([^)]*)\)\s*\{(.*)\}$/s.exec(text))) {
    analyse(body(found[2], found[3]));
    created.push(new Symbols.FunctionSymbol.$ctor16(found[1], `(${found[2]})`, `{${found[3]}}`, null));
  } else if (/^\.create /.test(text)) {
    errors++;
    console.log(`not understood here: ${text.slice(0, 70)}`);
  }
}

let blocks = 0;
for (const file of files) {
  for (const block of fs.readFileSync(file, 'utf8').split(/\n\s*\n/)) {
    const text = block.split('\n').filter((line) => !line.startsWith('//')).join('\n').trim();
    if (text) {
      blocks++;
      analyse(text);
      remember(text);
    }
  }
}
console.log(`${blocks} blocks, ${errors} errors`);
process.exit(errors || !blocks ? 1 : 0);
