"""How published files look: one layout for each kind of file, as data; importing this package registers all of them.

A further layout is a further module here that calls `register_layout`.
"""

from vqcnir_arch.registry import import_modules

import_modules(__name__, __path__, "")
