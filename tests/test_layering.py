"""Imports point one way, and importing has no side effects; read from the source, not run."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.core

PACKAGE = Path(__file__).resolve().parents[1] / "hopfield_attn"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Part of the package → the parts it may import. Itself is always allowed.
BASE = {"typing", "checks", "files"}
ALLOWED = {
    "typing": set(),
    "checks": {"typing"},
    "files": set(),
    "energies": BASE,
    "solvers": BASE,
    "ops": BASE | {"energies", "solvers"},
    "nn": BASE | {"energies", "solvers", "ops"},
    "data": BASE,
    # Of the data a model knows the tokenizer: a pretrained folder holds both.
    "models": BASE | {"energies", "solvers", "ops", "nn", "data"},
    "analysis": BASE | {"energies", "solvers", "ops", "nn", "models", "data"},
    "benchmark": BASE | {"energies", "solvers", "ops"},
    "train": BASE | {"energies", "solvers", "ops", "nn", "models", "data", "analysis"},
    # The package itself offers the functional core, and Flax is not needed for it.
    "": BASE | {"energies", "solvers", "ops"},
}
WITHOUT_FLAX = {"", "typing", "checks", "files", "energies", "solvers", "ops", "data"}
FORBIDDEN = {
    "pickle": "safetensors and JSON hold data; a pickle is a program",
    "dill": "as pickle",
    "cloudpickle": "as pickle",
    "joblib": "as pickle",
    "shelve": "as pickle",
    "marshal": "as pickle",
    "jax._src": "private",
    "flax.linen": "modules are flax.nnx",
    "tensorflow": "too large",
    "evaluate": "runs downloaded scripts",
}


def part_of(module: str) -> str:
    return (module.split(".") + [""])[1]


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports_of(module: str, tree: ast.AST | None = None) -> set[str]:
    """Names of everything imported anywhere in a module, functions included."""
    found = set()
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree or tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join([*parents, origin]).rstrip(".")
            # The name may be a module: from hopfield_attn import data.
            found |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return found


def is_under(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + ".")


def imported_parts(module: str) -> set[str]:
    """Parts of the package that a module imports; "" for names of the package itself."""
    own = {name for name in imports_of(module) if is_under(name, "hopfield_attn")}
    parts = set()
    for name in own - {"hopfield_attn"}:
        part = part_of(name)
        parts.add(part if part in ALLOWED else "")
    return parts


def statements_at_import(body: list[ast.stmt]):
    """Statements that run on import: of the module, its ifs, tries and class bodies."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (ast.Expr(decorator) for decorator in node.decorator_list)
            continue
        if isinstance(node, ast.ClassDef):
            yield from (ast.Expr(decorator) for decorator in node.decorator_list)
            yield from statements_at_import(node.body)
            continue
        inner = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
        inner += [handler.body for handler in getattr(node, "handlers", [])]
        if any(inner):
            conditions = [getattr(node, name, None) for name in ("test", "iter")]
            yield from (ast.Expr(condition) for condition in conditions if condition)
            for part in inner:
                yield from statements_at_import(part)
            continue
        yield node


def calls_in(node: ast.AST):
    """Names of what is called when a statement runs: not what a lambda calls later."""
    if isinstance(node, ast.Call):
        yield ast.unparse(node.func)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Lambda):
            yield from calls_in(child)


def test_every_part_of_the_package_has_a_place_in_the_order():
    assert {part_of(module) for module in MODULES} == set(ALLOWED)
    assert len(MODULES) > 40


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    part = part_of(module)
    assert imported_parts(module) <= ALLOWED[part] | {part}


def test_the_allowed_imports_have_no_circle():
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        ready = {part for part in ALLOWED if part not in done and ALLOWED[part] <= done}
        assert ready, f"a circle among {set(ALLOWED) - done}"
        done |= ready


def test_energies_and_solvers_do_not_know_each_other():
    for part, other in (("energies", "solvers"), ("solvers", "energies")):
        modules = [module for module in MODULES if part_of(module) == part]
        assert modules
        for module in modules:
            assert other not in imported_parts(module)


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) in WITHOUT_FLAX])
def test_the_functional_core_and_the_data_do_not_need_flax(module):
    assert not [name for name in imports_of(module) if is_under(name, "flax")]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_private_or_unsafe_is_imported(module):
    for name in imports_of(module):
        for forbidden, reason in FORBIDDEN.items():
            assert not is_under(name, forbidden), f"{name}: {reason}"
    # Nor reached through an attribute.
    source = ast.unparse(tree_of(module))
    assert "jax._src" not in source
    assert "allow_pickle=True" not in source


@pytest.mark.parametrize("module", MODULES)
def test_importing_prints_nothing_defines_no_flag_and_sets_no_option(module):
    for statement in statements_at_import(tree_of(module).body):
        for called in calls_in(statement):
            assert called not in ("print", "warnings.warn", "logging.basicConfig"), called
            assert "jax.config" not in called, called
            assert not called.startswith(("flags.", "absl.flags.", "config_flags.")), called
            assert not called.startswith(("jnp.", "jax.random.", "jax.numpy.")), (
                f"{called} starts a device while the package is imported"
            )
    assert not [name for name in imports_of(module) if is_under(name, "absl.flags")]


@pytest.mark.parametrize("module", MODULES)
def test_public_modules_say_what_they_are(module):
    name = MODULES[module].stem
    if name.startswith("_") and name != "__init__":
        return
    docstring = ast.get_docstring(tree_of(module))
    assert docstring
    # A summary that fits on one line and is a sentence.
    assert docstring.splitlines()[0].endswith((".", ":"))


def test_what_the_checks_look_for_is_found():
    """The checks above, on a text that breaks each of them."""
    text = """
import jax._src.core, pickle
from hopfield_attn import train
from hopfield_attn.solvers.descent import descend
if True:
    print("hello")
class A:
    x = jnp.zeros(3)
    later = lambda: jnp.ones(3)
def f():
    from absl import flags
    print("allowed here")
"""
    found = imports_of("hopfield_attn.checks", ast.parse(text))
    assert {"jax._src.core", "pickle", "hopfield_attn.train", "absl.flags"} <= found
    assert "hopfield_attn.solvers.descent" in found
    at_import = [ast.unparse(node) for node in statements_at_import(ast.parse(text).body)]
    assert "print('hello')" in at_import
    calls = [name for node in statements_at_import(ast.parse(text).body) for name in calls_in(node)]
    assert calls == ["print", "jnp.zeros"]
    assert "print('allowed here')" not in at_import
    relative = imports_of("hopfield_attn.nn.heads", ast.parse("from ..ops import standard"))
    assert "hopfield_attn.ops.standard" in relative
