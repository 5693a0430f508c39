"""Alarms: what is wrong now, judged once a second from the snapshots by a process that nothing waits for.

    snapshots, definitions, clock, disk, audit log ─► points ─► judge ─┬─► board (run/alarms.json): pages, API, /metrics, command
                                                                      └─► journal (state/alarms/): webhooks, MQTT

The journal is written first and the board after it. So whoever is killed in between finds what was told in the journal, and tells it no
second time; what nobody has taken yet stays there.
"""
