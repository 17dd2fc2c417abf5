// --- the process ------------------------------------------------------------------------------

// The app's children are no servers of ours.
{
  const index = process.execArgv.indexOf('--preload');
  if (index >= 0) process.execArgv.splice(index, 2);
}

start();
