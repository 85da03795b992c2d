"""The inbox to look at: pages and a JSON list on the local port. They stand in for people's phones, so nobody logs in."""

from typing import Any

from flask import Blueprint, Response, jsonify, render_template_string, request

from sandroad.problems import InvalidRequest
from sandroad.web import resource
from services.messaging.domain import GatewayNotWelcome, InboxMessage
from services.messaging.inbox import Inbox

pages = Blueprint("inbox", __name__)
SHOWN = 200

LAYOUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f4f6f8;color:#1c2733}
header{background:#17324d;color:#fff;padding:.9rem 1.2rem}header a{color:#fff}
main{max-width:46rem;margin:1.2rem auto;padding:0 1rem}
.note{background:#fff6d9;border-left:.3rem solid #b58900;padding:.6rem .9rem;font-size:.9rem}
article,li{background:#fff;border:1px solid #d5dde5;border-radius:.4rem;padding:.8rem 1rem;margin:.8rem 0;list-style:none}
ul{padding:0}h1{font-size:1.3rem;margin:0}h2{font-size:1.05rem;margin:0 0 .3rem}
.meta{color:#4a5a69;font-size:.85rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;margin:.4rem 0 0}
</style></head><body><header><h1>{% if back %}<a href="/inbox">Inbox</a> · {% endif %}{{ title }}</h1></header><main>
<p class="note">This stands in for people's phones and mailboxes in the sandbox. Nothing shown here has left this machine,
and everybody who reaches this port can read it.</p>{% block content %}{% endblock %}</main></body></html>"""

LISTING = LAYOUT.replace(
    "{% block content %}{% endblock %}",
    """{% if not entries %}<p>No message has arrived yet.</p>{% endif %}<ul>{% for message, count in entries %}
<li><h2><a href="/inbox/{{ message.to|urlencode }}">{{ message.to }}</a></h2>
<div class="meta">{{ count }} {{ "message" if count == 1 else "messages" }} · newest
<time datetime="{{ message.at.isoformat() }}">{{ message.at.strftime("%Y-%m-%d %H:%M") }}</time> from {{ message.sender }}</div>
<pre>{{ (message.title or message.content)|truncate(120) }}</pre></li>{% endfor %}</ul>""",
)

ADDRESS = LAYOUT.replace(
    "{% block content %}{% endblock %}",
    """{% if not entries %}<p>No message has arrived for this address.</p>{% endif %}{% for message in entries %}
<article><h2>{{ message.title or "Text message" }}</h2><div class="meta">{{ "E-mail" if message.channel == "email" else "SMS" }}
from {{ message.sender }} · <time datetime="{{ message.at.isoformat() }}">{{ message.at.strftime("%Y-%m-%d %H:%M:%S") }} UTC</time>
</div><pre>{{ message.content }}</pre></article>{% endfor %}""",
)


@pages.before_request
def only_locally() -> None:
    """Refuse what came through a gateway: no organisation may read people's phones."""
    if any(name.lower().startswith(("x-road-", "x-sandroad-", "x-govstack-")) for name in request.headers.keys()):  # noqa: SIM118
        raise GatewayNotWelcome("the inbox is looked at on this block's local port, not through the gateway")


@pages.after_request
def without_active_content(response: Response) -> Response:
    """Messages are other people's text: nothing in them may run, load or be guessed to be a page."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


@pages.get("/inbox")
def list_addresses() -> Any:
    """Show all addresses with their newest message."""
    return render_template_string(LISTING, title="Inbox", entries=resource(Inbox).newest())


@pages.get("/inbox/<address>")
def show_address(address: str) -> Any:
    """Show an address's messages, the newest first; as JSON (oldest first, ``?after=<id>``) with ``.json`` at the end."""
    if address.endswith(".json"):
        return _as_json(address.removesuffix(".json"))
    messages = resource(Inbox).messages(address, newest_first=True, limit=SHOWN)
    return render_template_string(ADDRESS, title=address, back=True, entries=messages)


def _as_json(address: str) -> Any:
    after = request.args.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        raise InvalidRequest("after is the id of the last message that you have: a whole number")
    return jsonify(messages=[_shown(each) for each in resource(Inbox).messages(address, after=int(after))])


def _shown(message: InboxMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "channel": message.channel,
        "to": message.to,
        "from": message.sender,
        "title": message.title,
        "content": message.content,
        "at": message.at.isoformat(),
    }
