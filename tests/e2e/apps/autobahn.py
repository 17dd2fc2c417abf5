"""Runs the Autobahn cases against a WebSocket server that echoes, and says what is not as it should be.

    autobahn.py HOST:PORT/PATH NON_STRICT…

Without the cases of permessage-deflate. Says `fine N cases` when every one is strictly as expected,
but for those that are named: they may be non-strict. `CASE` or `CASE.*`.
"""

import asyncio
import fnmatch
import sys

from kosoku import FailureError, run_fuzzingclient

GOOD = {"OK", "INFORMATIONAL"}


async def main(address, *tolerated):
    try:
        results = await run_fuzzingclient(address, None, ["12.*", "13.*"], concurrency=4)
    except FailureError as failure:
        results = failure.results
    wrong = 0
    for result in results:
        verdicts = {result.behavior.value, result.behavior_close.value}
        names = {"NON-STRICT"} if any(fnmatch.fnmatch(result.case_id, name) for name in tolerated) else set()
        if not verdicts <= GOOD | names:
            wrong += 1
            print(result.case_id, *sorted(verdicts), result.result, result.result_close, sep=" | ")
    print(f"wrong {wrong} of {len(results)}" if wrong else f"fine {len(results)} cases")


asyncio.run(main(*sys.argv[1:]))
