"""Who is told of alarms and events: webhooks and an MQTT broker.

`appliance.alarmd` is the process; what it tells comes from the journal of `firmware.alarms`.
"""
