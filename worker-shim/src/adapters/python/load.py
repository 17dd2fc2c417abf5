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


def located(path):
    """Where a file is imported from, and as what: a file of a package is imported as that."""
    directory, base = os.path.split(os.path.abspath(path))
    parts = [base[:-3]]
    above = directory
    while os.path.isfile(os.path.join(above, "__init__.py")):
        above, part = os.path.split(above)
        parts.insert(0, part)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    is_module = len(parts) > 1 and all(part.isidentifier() for part in parts)
    if is_module and not is_taken(parts[0], os.path.join(above, parts[0])):
        return above, ".".join(parts)
    return directory, base[:-3]


def is_taken(name, directory):
    """Whether a module of this name is another one than the package in the directory."""
    if name in getattr(sys, "stdlib_module_names", ()):
        return True
    module = sys.modules.get(name)
    return module is not None and directory not in getattr(module, "__path__", ())


def directory_of(entry):
    """Where the app's own modules are looked for."""
    name, _ = split(entry)
    return located(name)[0] if name.endswith(".py") else os.getcwd()


def look_in(entry):
    """Has modules looked for where the app's own are."""
    directory = directory_of(entry)
    if getattr(sys.flags, "safe_path", False) or not sys.path:
        sys.path.insert(0, directory)
    else:
        sys.path[0] = directory  # in place of the directory of this adapter
    name, _ = split(entry)
    beside = os.path.dirname(os.path.abspath(name))
    if name.endswith(".py") and beside != directory:
        sys.path.insert(1, beside)


def load(entry):
    """Imports the entry and finds its app: what it is called, how it is called, and itself. Or
    refuses, in the operator's words."""
    name, attribute = split(entry)
    is_file = name.endswith(".py")
    directory, module_name = located(name) if is_file else (os.getcwd(), name)
    try:
        if is_file and "." not in module_name:
            if module_name in sys.modules:
                module_name = "app_" + module_name
            spec = importlib.util.spec_from_file_location(module_name, os.path.abspath(name))
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not is_file and (name == missing or name.startswith(missing + ".")):
            raise Missing("there is no module %s in %s" % (missing, directory))
        traceback.print_exc()
        package = missing.partition(".")[0]
        raise Missing(
            "%s needs the module %s, which is not installed; install it with `pip install %s`"
            % (name, missing, package)
        )
    except SystemExit as error:
        # Such as a server that finds its port taken, by the next worker.
        place = serving_at(reversed(list(traceback.walk_tb(error.__traceback__))))
        if place:
            raise serves_itself(name, place)
        raise Refused("%s ended while it was imported (exit status %s)" % (name, error.code))
    except BaseException as error:
        traceback.print_exc()
        raise Refused("%s cannot be imported: %s: %s" % (name, type(error).__name__, error))
    attribute, app = find(module, name, attribute)
    label = "%s in %s" % (attribute, name)
    return label, kind_of(app, label), app


def find(module, name, attribute):
    """The app in a module: the attribute named, else `application`, else `app`; and its name."""
    if attribute:
        factory = attribute.endswith("()")
        app = module
        for part in attribute[:-2].split(".") if factory else attribute.split("."):
            app = getattr(app, part, None)
        if app is None:
            raise Missing("%s has no %s" % (name, attribute))
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
            makers = [maker for maker in ("create_app", "make_app") if hasattr(module, maker)]
            what = "'%s:%s()'" % (name, makers[0]) if makers else "%s:NAME" % name
            raise Missing(
                "%s has neither `application` nor `app`; name what is to be served: %s"
                % (name, what)
            )
    return attribute, app


class Code:
    """The app, and how it is loaded anew from files that have changed."""

    def __init__(self, entry):
        self.entry = entry
        self.directory = directory_of(entry)
        self.label, self.kind, self.app = load(entry)

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

    def renew(self):
        """Imports the app's modules again: the app, and what takes the import back. Refuses what
        cannot be served in the former app's place; the modules are then as they were."""
        before = {name: module for name, module in sys.modules.items() if self.is_own(module)}

        def take_back():
            for name, module in list(sys.modules.items()):
                if self.is_own(module):
                    del sys.modules[name]
            sys.modules.update(before)

        for name in before:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            label, kind, app = load(self.entry)
            if kind != self.kind:
                raise Refused("%s is %s now, which takes fresh workers" % (label, kind))
        except Refused:
            take_back()
            raise
        return app, take_back

    def reload(self):
        """Imports the app's modules again. If that fails, the last good ones go on serving."""
        try:
            self.app, _ = self.renew()
        except Refused as error:
            self.tell_kept(error)
        else:
            self.tell_renewed()
        gc.collect()

    def tell_renewed(self):
        told("reloaded %s" % self.entry)

    def tell_kept(self, error):
        """Why nothing has changed."""
        told("%s; the last good version goes on serving" % error)
