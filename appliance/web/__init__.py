"""The pages: what a person sees of a box. They read snapshots and ask the engine; no packet passes here."""

from __future__ import annotations

from flask import Flask, Response, render_template
from werkzeug.exceptions import HTTPException

from appliance.web.figures import Book
from appliance.web.guard import protect
from appliance.web.lights import lights
from appliance.web.openapi import described
from appliance.web.pages import pages
from appliance.web.plots import plots
from appliance.web.watch import Watch
from firmware.places import Places


def create_app(places: Places) -> Flask:
    app = Flask(__name__)
    protect(app)
    app.extensions["watch"] = Watch(places)
    app.extensions["book"] = Book(places)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(pages)
    app.register_blueprint(plots)
    app.register_blueprint(lights)
    app.register_blueprint(described)
    app.register_error_handler(HTTPException, _problem)
    return app


def _problem(error: HTTPException) -> Response:
    return Response(render_template("problem.html", error=error), status=error.code or 500, mimetype="text/html")
