// Leads the first HTTP server of an app to the listening socket this process was given, before the
// app is loaded. The parts beside this one are one script, in the order that node.rs gives them:
// `require` and `load`, which is import(), are its parameters.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const LISTENER_FD = 3;
const STATUS_FD = Number(process.env.RIP_STATUS_FD ?? -1);
const ENTRY = process.argv[1];
const NAME = path.basename(ENTRY);
const { exit } = process;

// Writes that must not be lost with the process.
function write(fd, text) {
  try {
    fs.writeSync(fd, text);
  } catch {
    // Nobody reads it any more.
  }
}

// A sentence for the operator, shown if the start fails. `MISSING` says that starting again would
// not help.
function say(sentence, word = 'STATUS') {
  write(STATUS_FD, `${word}=${sentence.replace(/\s+/g, ' ').slice(0, 1000)}\n`);
}

function log(sentence) {
  write(2, `${sentence}\n`);
}

// Ends the start, or a worker whose app does what cannot be served. Some things another start mends.
function refuse(sentence, word = 'MISSING') {
  say(sentence, word);
  log(sentence);
  process.reallyExit(1);
}

// The package a module's name belongs to; nothing for a path.
function packageOf(name) {
  if (/^[./]|^[a-z]+:/i.test(name)) return undefined;
  return name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/');
}

// The directory whose package.json asks for a package, looked for from the entry upwards.
function asksFor(name) {
  let directory = path.dirname(ENTRY);
  for (;;) {
    try {
      const asked = JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'));
      if (asked.dependencies?.[name] || asked.devDependencies?.[name]) return directory;
    } catch {
      // None there, or none that can be read.
    }
    const above = path.dirname(directory);
    if (above === directory) return undefined;
    directory = above;
  }
}

// TypeScript where nothing runs it.
function isTypeScript(name) {
  return `${name} is TypeScript, which node ${process.version} does not run: install bun or node 22.18, ` +
    'or compile it to JavaScript';
}

// Who needs a module that is not there: a file of the app or of a package, as seen from the entry.
function needing(error, text) {
  const file = error.requireStack?.[0] ?? error.referrer ?? / imported from (.+)$/.exec(text)?.[1];
  if (typeof file !== 'string' || !path.isAbsolute(file)) return NAME;
  try {
    const shown = path.relative(path.dirname(fs.realpathSync(ENTRY)), fs.realpathSync(file));
    return shown.startsWith('..') ? file : shown;
  } catch {
    return NAME;
  }
}

// What is wrong with an app that throws while it is loaded, as far as no other start would mend it:
// one sentence, or nothing.
function lack(error) {
  const text = String(error?.message ?? error).split('\n')[0];
  if (error?.code === 'MODULE_NOT_FOUND' || error?.code === 'ERR_MODULE_NOT_FOUND') {
    const name = /'([^']+)'/.exec(text)?.[1];
    if (name === undefined) return undefined;
    const whose = needing(error, text);
    const needed = packageOf(name);
    if (needed === undefined) return `${whose} needs ${name}, which does not exist`;
    const directory = asksFor(needed);
    const [all, one] = process.versions.bun ? ['bun install', 'bun add'] : ['npm install', 'npm install'];
    const how = directory ? `${all}\` in ${directory}` : `${one} ${needed}\``;
    return `${whose} needs the package ${needed}, which is not installed; install it with \`${how}`;
  }
  if (error?.code === 'ERR_UNKNOWN_FILE_EXTENSION') {
    const file = /(\S+\.[cm]?tsx?)$/.exec(text)?.[1];
    if (file) return isTypeScript(path.basename(file));
  }
  return undefined;
}

// The same, whatever it is.
function fault(error) {
  const text = String(error?.message ?? error).split('\n')[0];
  const kind = error instanceof Error ? `${error.name}: ` : '';
  return lack(error) ?? `${NAME} cannot be loaded: ${kind}${text}`;
}

// Whether something other than this preload decides how modules are loaded.
function hasLoaders() {
  const words = process.execArgv.concat((process.env.NODE_OPTIONS ?? '').split(/\s+/));
  const others = words.filter((word, index) => !words[index + 1]?.startsWith('data:text/javascript,'));
  return others.some((word) => /^(--import|--require|-r|--loader|--experimental-loader)\b/.test(word));
}
