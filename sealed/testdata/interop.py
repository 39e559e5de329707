# The other side of interop_test.go: Fernet of the Python package "cryptography". It reads
# one JSON request per line and answers each with {"text": ...} or {"refused": true}.
import json
import sys

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

for line in sys.stdin:
    ask = json.loads(line)
    fernet = MultiFernet([Fernet(key) for key in ask["keys"]])
    text = ask["text"].encode()
    try:
        if ask["do"] == "seal":
            out = fernet.encrypt_at_time(text, ask["at"]) if ask.get("at") else fernet.encrypt(text)
        elif ask["do"] == "rotate":
            out = fernet.rotate(text)
        else:
            out = fernet.decrypt(text)
        print(json.dumps({"text": out.decode()}), flush=True)
    except InvalidToken:
        print(json.dumps({"refused": True}), flush=True)
