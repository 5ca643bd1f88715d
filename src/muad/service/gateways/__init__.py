"""Ways in and out of the station: a watched folder and a camera, MQTT, OPC UA, a webhook, and a table per shift.

What they share is said by `base`, what they tell by `message`; `spool` stands before every way out.
"""
