# SPDX-License-Identifier: BSD-2-Clause
"""For tests of changes while terraced runs: refusals by code, LUNs by name, a target with groups."""

from control import Control, Error
from terraced import TARGET, Failed, check

FAILED, NEEDS_YES, BUSY, NOT_PERMITTED, NO_OBJECT, EXISTS, CONFIG_ERRORS = range(-32000, -32007, -1)
INVALID_PARAMS = -32602

# One target; initiators named iqn.a* see LUN a, those named iqn.b* none yet.
CONFIG = """
portal san { listen 127.0.0.1:{port} }
lun a { store file:{dir}/a.img ; size 64MiB }
target """ + TARGET + """ {
	portals san
	group g { initiators iqn.a* ; lun 0 a }
}
"""


class Changes(Control):
    """A control connection with words for what changes."""

    def refused(self, code, method, **params):
        """The call must fail with this code; its error."""
        try:
            result = self.call(method, **params)
        except Error as e:
            check(e.code == code, f"{method} {params}: not {code} but {e}")
            return e
        raise Failed(f"{method} {params} was done: {result}")

    def done(self, method, **params):
        """The call must be applied; its answer."""
        result = self.call(method, **params)
        check(result["applied"], f"{method} {params} did nothing: {result}")
        return result

    def luns(self):
        return {lun["name"]: lun for lun in self.call("lun.list")}

    def sessions(self):
        return {s["initiator"]: s for s in self.call("session.list")}
