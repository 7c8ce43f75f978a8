"""What code can reach that no key covers: files, the environment, the clock, the network, code made at run time.

A step that uses one of these is not cached, and says which; files and variables may be declared instead
(`@step(reads=[...], environ=[...])`), so that their contents belong to the key.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Final

FILES, ENVIRONMENT, CLOCK, CHANCE = "files", "environment", "clock", "chance"
ELSEWHERE, DYNAMIC, SEEDED = "elsewhere", "dynamic", "seeded"

SENTENCES: Final = {
    FILES: "reads files ({name}); declare them with @step(reads=[...])",
    ENVIRONMENT: "reads the environment ({name}); declare the variables with @step(environ=[...])",
    CLOCK: "reads the clock ({name}); give it the time as an argument",
    CHANCE: "draws from the process's random numbers ({name}); make a generator from a seed",
    ELSEWHERE: "asks another process or machine ({name})",
    DYNAMIC: "uses code that cannot be followed ({name})",
}
_KNOWN: Final = {
    FILES: "builtins.open io.open io.open_code os.open os.listdir os.scandir os.walk os.stat glob.glob glob.iglob "
    "numpy.load numpy.loadtxt numpy.genfromtxt numpy.fromfile numpy.memmap sqlite3.connect "
    "zipfile.ZipFile tarfile.open gzip.open bz2.open lzma.open fileinput.input linecache.getline shutil.copyfileobj "
    "importlib.resources.files importlib.resources.open_text importlib.resources.read_text pkgutil.get_data",
    ENVIRONMENT: "os.getenv os.environb os.environ os.getcwd sys.argv sys.stdin builtins.input",
    CLOCK: "time.time time.time_ns time.localtime time.gmtime datetime.datetime.now datetime.datetime.utcnow "
    "datetime.datetime.today datetime.date.today uuid.uuid1 uuid.uuid4 os.urandom secrets.token_bytes "
    "secrets.token_hex",
    DYNAMIC: "builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.globals sys.modules "
    "sys._getframe importlib.import_module importlib.reload importlib.__import__ runpy.run_path runpy.run_module "
    "pickle.load pickle.loads pickle.Unpickler marshal.loads joblib.load dill.loads cloudpickle.loads ctypes.CDLL "
    "inspect.stack inspect.currentframe inspect.getsource gc.get_objects",
    SEEDED: "random.seed numpy.random.seed",
    ELSEWHERE: "interlock.data.load interlock.data.loading.load",
}
_TABLE: Final = {name: kind for kind, names in _KNOWN.items() for name in names.split()}
_WHOLE: Final = frozenset(
    {"requests", "httpx", "aiohttp", "urllib3", "socket", "subprocess", "ftplib", "smtplib", "boto3", "botocore"}
    | {"sqlalchemy", "psycopg", "psycopg2", "pymysql", "redis", "kafka", "obstore", "fsspec", "multiprocessing"}
)
# Functions of these modules draw from one state of the whole process. Classes make a state of their own.
_RANDOM: Final = frozenset({"random", "numpy.random", "numpy.random.mtrand"})
_SPELLED: Final = {
    "_io": "io",
    "posix": "os",
    "nt": "os",
    "_pickle": "pickle",
    "_socket": "socket",
    "_sqlite3": "sqlite3",
}
_FORMATS: Final = (
    "csv|parquet|json|ndjson|jsonl|excel|ods|sql|database|table|feather|ipc|orc|hdf|pickle|avro|delta|iceberg"
    "|clipboard|html|xml|stata|sas|spss|fwf|gbq|text|bytes"
)
_READER: Final = re.compile(rf"(read|scan)_({_FORMATS})\w*\Z")
_ATTRIBUTES: Final = {
    **dict.fromkeys(("iterdir", "rglob", "glob", "open", "load_dataset", "read_dataset"), FILES),
    **dict.fromkeys(("environ", "getenv"), ENVIRONMENT),
    **dict.fromkeys(("urlopen", "urlretrieve", "check_output", "Popen"), ELSEWHERE),
    **dict.fromkeys(("__globals__", "__builtins__", "__subclasses__", "f_globals", "f_locals"), DYNAMIC),
    "import_module": DYNAMIC,
}


def of_object(value: Any) -> tuple[str, str]:
    """Return what a function, class or object reaches outside: the kind and its name, or two empty texts."""
    if value is os.environ:
        return ENVIRONMENT, "os.environ"
    if value is sys.modules:
        return DYNAMIC, "sys.modules"
    # An object may answer to any name with anything (`pl.col` does), so only texts count.
    names = [getattr(value, word, None) for word in ("__qualname__", "__name__")]
    name = next((found for found in names if isinstance(found, str) and found), None)
    module = getattr(value, "__module__", None)
    if name is None:
        return "", ""
    owner = getattr(value, "__self__", None)
    if type(owner).__name__ in {"Random", "RandomState"} and _is_shared(owner):
        return of_name("random" if type(owner).__name__ == "Random" else "numpy.random", name.rpartition(".")[2])
    if not isinstance(module, str):
        module = owner.__module__ if isinstance(owner, type) else ""
        name = f"{owner.__qualname__}.{getattr(value, '__name__', name)}" if isinstance(owner, type) else name
    return of_name(module, name)


def of_name(module: str, name: str) -> tuple[str, str]:
    """Return what `module.name` reaches outside: the kind and its name, or two empty texts."""
    top = module.partition(".")[0]
    module = _SPELLED.get(module, module)
    full = f"{module}.{name}"
    if full in _TABLE:
        return _TABLE[full], full
    if f"{top}.{name}" in _TABLE:
        return _TABLE[f"{top}.{name}"], f"{top}.{name}"
    if _SPELLED.get(top, top) in _WHOLE or module.startswith(("urllib.request", "http.client")):
        return ELSEWHERE, full
    if module in _RANDOM and name.islower() and name != "default_rng":
        return CHANCE, full
    return (FILES, f"{top}.{name}") if _READER.match(name) else ("", "")


def _is_shared(state: Any) -> bool:
    """Return whether a random state is the one of the whole process."""
    numpy = sys.modules.get("numpy.random.mtrand")
    shared = (getattr(sys.modules.get("random"), "_inst", None), getattr(numpy, "_rand", None))
    return any(state is known for known in shared)


def of_attribute(name: str) -> str:
    """Return what an attribute of an unknown object reaches outside, or ""."""
    return FILES if _READER.match(name) else _ATTRIBUTES.get(name, "")
