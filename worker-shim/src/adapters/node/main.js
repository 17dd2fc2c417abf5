// --- the process ------------------------------------------------------------------------------

// Neither the app's children nor its threads are servers of ours.
{
  const index = process.execArgv.findIndex((word) => word.startsWith('data:text/javascript,'));
  if (index > 0) process.execArgv.splice(index - 1, 2);
}

{
  const cluster = require('node:cluster');
  cluster.fork = () =>
    refuse(
      `${NAME} starts processes of its own with cluster.fork(); rip-master does that: ` +
        'let it serve in one process',
    );
}

if (/\.[cm]?tsx?$/.test(ENTRY) && !process.features.typescript && !hasLoaders()) {
  refuse(isTypeScript(NAME));
}

start();
if (process.env.RIP_RELOAD === 'module') process.on('SIGUSR1', reload);
