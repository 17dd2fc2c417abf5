"""Runs the Autobahn cases against a WebSocket server that echoes, and says what is not as it should be.

    autobahn.py URL NAME…

Without the cases of permessage-deflate. Says `fine N cases` when every one is strictly as expected,
but for those that are named: `CASE` or `CASE.*` may be non-strict, `CASE!` may fail.
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
        is_tolerated = any(fnmatch.fnmatch(result.case_id, name) for name in tolerated)
        may = GOOD | {"NON-STRICT"} if is_tolerated else GOOD
        if not verdicts <= may and f"{result.case_id}!" not in tolerated:
            wrong += 1
            print(result.case_id, *sorted(verdicts), result.result, result.result_close, sep=" | ")
    print(f"wrong {wrong} of {len(results)}" if wrong else f"fine {len(results)} cases")


asyncio.run(main(*sys.argv[1:]))
