"""The app: where it is, how it is imported, and how it is imported anew."""

import gc
import importlib
import importlib.util
import os
import sys
import traceback

# Where installed packages are, also below the app's own directory.
PACKAGES = {"site-packages", "dist-packages", ".venv", "node_modules"}


def split(entry):
    """File or module, and attribute, of an entry."""
    path, found, attribute = entry.rpartition(".py:")
    if found:
        return path + ".py", attribute
    if entry.endswith(".py"):
        return entry, ""
    name, _, attribute = entry.partition(":")
    return name, attribute


def directory_of(entry):
    """Where the app's own modules are looked for."""
    name, _ = split(entry)
    return os.path.dirname(os.path.abspath(name)) if name.endswith(".py") else os.getcwd()


def load(entry):
    """Imports the entry and finds its app; or refuses, in the operator's words."""
    name, attribute = split(entry)
    is_file = name.endswith(".py")
    path = os.path.abspath(name)
    directory = directory_of(entry)
    module_name = os.path.basename(name)[:-3] if is_file else name
    try:
        if is_file:
            if module_name in sys.modules:
                module_name = "app_" + module_name
            spec = importlib.util.spec_from_file_location(module_name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not is_file and (name == missing or name.startswith(missing + ".")):
            raise Refused("there is no module %s in %s" % (missing, directory))
        traceback.print_exc()
        package = missing.partition(".")[0]
        raise Refused(
            "%s needs the module %s, which is not installed; install it with `pip install %s`"
            % (name, missing, package)
        )
    except SystemExit as error:
        raise Refused("%s ended while it was imported (exit status %s)" % (name, error.code))
    except BaseException as error:
        traceback.print_exc()
        raise Refused("%s cannot be imported: %s: %s" % (name, type(error).__name__, error))
    return find(module, name, module_name, attribute)


def find(module, name, module_name, attribute):
    """The app in a module: the attribute named, else `application`, else `app`."""
    if attribute:
        factory = attribute.endswith("()")
        app = module
        for part in attribute[:-2].split(".") if factory else attribute.split("."):
            app = getattr(app, part, None)
        if app is None:
            raise Refused("%s has no %s" % (name, attribute))
        if factory:
            try:
                app = app()
            except BaseException as error:
                traceback.print_exc()
                raise Refused("%s in %s failed: %r" % (attribute, name, error))
    else:
        attribute = "application" if hasattr(module, "application") else "app"
        app = getattr(module, attribute, None)
        if app is None:
            raise Refused(
                "%s has neither `application` nor `app`; name the WSGI callable: %s:NAME"
                % (name, name)
            )
    if not callable(app):
        raise Refused("%s in %s cannot be called: it is no WSGI app" % (attribute, name))
    if is_asgi(app):
        raise Refused(
            "%s in %s is an ASGI app, which needs the package uvicorn: `pip install uvicorn`, "
            "then start it as the command `uvicorn --fd {fd} %s:%s`"
            % (attribute, name, module_name, attribute)
        )
    return app


class Code:
    """The app, and how it is loaded anew from files that have changed."""

    def __init__(self, entry):
        self.entry = entry
        self.directory = directory_of(entry)
        self.app = load(entry)

    def is_own(self, module):
        """Whether a module is the app's, and not that of an installed package."""
        path = getattr(module, "__file__", None)
        if not path:
            # A package without a file of its own: where its parts are says whose it is.
            path = next(iter(getattr(module, "__path__", ())), None)
        if not path or not os.path.isabs(path):
            return False
        below = os.path.relpath(path, self.directory).split(os.sep)
        return below[0] != os.pardir and not PACKAGES.intersection(below)

    def reload(self):
        """Imports the app's modules again. If that fails, the last good ones go on serving."""
        before = {name: module for name, module in sys.modules.items() if self.is_own(module)}
        for name in before:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            self.app = load(self.entry)
        except Refused as error:
            for name, module in list(sys.modules.items()):
                if self.is_own(module):
                    del sys.modules[name]
            sys.modules.update(before)
            sys.stderr.write("%s; the last good version goes on serving\n" % error)
        else:
            sys.stderr.write("reloaded %s\n" % self.entry)
        sys.stderr.flush()
        gc.collect()
