"""How a run judges photographs taken otherwise: other light, out of focus, moved, dusty.

`light`, `lens`, `sensor` and `pose` hold what is done to a photograph, each a pure function; `condition` names them;
`study` measures a run under them, `page` shows it.
"""
