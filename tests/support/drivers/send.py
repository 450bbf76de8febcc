"""Sends mails with smtplib. stdin: {host, port, from, to, mails: [base64]}; stdout: JSON replies."""

import base64
import json
import smtplib
import sys

job = json.load(sys.stdin)
replies = []
with smtplib.SMTP(job["host"], job["port"], timeout=60) as client:
    client.ehlo("python.test")
    for encoded in job["mails"]:
        mail = base64.b64decode(encoded)
        options = ["BODY=8BITMIME"] if any(octet > 127 for octet in mail) else []
        client.sendmail(job["from"], [job["to"]], mail, mail_options=options)
json.dump({"sent": len(job["mails"])}, sys.stdout)
