"""The ledger: what a row puts in force is undone to the very object that stood there.

Rules: toy modules made for the test, in `sys.modules` only while it runs; nothing of gevent, gunicorn or the
standard library is patched here. "The same" is identity of everything in `vars(owner)`.
"""

import functools
import importlib.util
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from .._inside import MISSING, SEAMS, Ledger, Row, Unknown, _import_hooks, arrived

NAME = "gzc_toy_module"
KNOWS = frozenset({"count"})


def toy() -> types.ModuleType:
    """A module with an attribute of each kind a patch may meet."""
    module = types.ModuleType(NAME)
    exec(
        """
import functools

def function(count): return ("function", count)
def other(length): return length

def decorated(f):
    @functools.wraps(f)
    def wrapper(*args): return f(*args)
    return wrapper

class Described:  # a descriptor of somebody's own, with the code of a function
    def __init__(self, f):
        self.f, self.__code__ = f, f.__code__
    def __get__(self, instance, owner):
        return self.f.__get__(instance, owner)

class Base:
    def inherited(self, count): return ("inherited", count)

class Target(Base):
    def method(self, count): return ("method", count)
    @staticmethod
    def static(count): return ("static", count)
    @classmethod
    def of_class(cls, count): return (cls.__name__, count)
    @property
    def prop(self): return "prop"
    @decorated
    def wrapped(self, count): return ("wrapped", count)
    @Described
    def described(self, count): return ("described", count)
    builtin = len
    nothing = None
    class Inner:
        def method(self, count): return ("inner", count)
""",
        vars(module),
    )
    return module


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    made = toy()
    monkeypatch.setitem(sys.modules, NAME, made)
    return made


def owners(module: Any) -> tuple[Any, ...]:
    return module, module.Base, module.Target, module.Target.Inner


def image(module: Any) -> list[dict[str, object]]:
    return [dict(vars(owner)) for owner in owners(module)]


def same(one: list[dict[str, object]], other: list[dict[str, object]]) -> bool:
    """Whether the two images hold the very same objects under the same names."""
    return all(a.keys() == b.keys() and all(a[name] is b[name] for name in a) for a, b in zip(one, other, strict=True))


def plain(original: Any) -> Any:
    """A replacement that shows it was here and calls what stood there."""

    def replacement(*args: Any) -> Any:
        return ("gzc", original(*args))

    return replacement


def described(original: Any) -> Any:
    """The same for a descriptor that is no function, and so is not called as one."""
    return plain(original.f)


def row(path: str, make: Any = plain, knows: frozenset[str] = KNOWS, **more: Any) -> Row:
    return Row(NAME, path, make, knows, **more)


CASES = {
    "function": ("function", plain, lambda m: m.function(1), ("function", 1)),
    "method": ("Target.method", plain, lambda m: m.Target().method(1), ("method", 1)),
    "nested": ("Target.Inner.method", plain, lambda m: m.Target.Inner().method(1), ("inner", 1)),
    "descriptor": ("Target.described", described, lambda m: m.Target().described(1), ("described", 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_undo_puts_back_the_raw_descriptor(module: Any, case: str) -> None:
    """Twice: what was put back the first time is what is found the second time."""
    path, make, call, result = CASES[case]
    before, ledger, one = image(module), Ledger(), row(path, make)
    for _ in range(2):
        assert call(module) == result
        assert ledger.apply(one) is True
        assert one in ledger
        assert call(module) == ("gzc", result)
        assert not same(before, image(module))
        assert ledger.undo(one) is True
        assert one not in ledger
        assert same(before, image(module))
    assert call(module) == result


def test_make_sees_the_descriptor_itself_and_not_what_getattr_makes_of_it(module: Any) -> None:
    seen = []
    Ledger().apply(row("Target.described", lambda original: seen.append(original) or original))
    assert seen == [vars(module.Target)["described"]]
    assert isinstance(seen[0], module.Described)


def test_an_added_attribute_is_removed_again(module: Any) -> None:
    before, ledger, seen = image(module), Ledger(), []
    one = row("Target.added", lambda missing: seen.append(missing) or (lambda self: "added"), frozenset())
    assert ledger.apply(one)
    assert seen == [MISSING]
    assert module.Target().added() == "added"
    assert ledger.undo(one)
    assert same(before, image(module))


def test_an_attribute_added_over_an_inherited_one_uncovers_it_again(module: Any) -> None:
    """`vars` and not `getattr`: putting the inherited function into the subclass would be another class."""
    before, ledger = image(module), Ledger()
    one = row("Target.inherited", lambda missing: lambda self, count: "over", frozenset())
    ledger.apply(one)
    assert module.Target().inherited(1) == "over"
    assert module.Base().inherited(1) == ("inherited", 1)
    ledger.undo(one)
    assert "inherited" not in vars(module.Target)
    assert module.Target().inherited(1) == ("inherited", 1)
    assert same(before, image(module))


ITS_OWN = ("method", "static", "of_class", "prop", "wrapped", "builtin", "nothing", "Inner")


@pytest.mark.parametrize("name", ITS_OWN)
def test_an_attribute_that_exists_by_itself_is_left_alone(module: Any, name: str) -> None:
    """What a row would add is there already, of whatever sort it is: in force, and nothing done."""

    def never(original: object) -> object:
        raise AssertionError(original)

    before, ledger, one = image(module), Ledger(), row(f"Target.{name}", never, frozenset())
    for _ in range(2):
        assert ledger.apply(one) is True
        assert one in ledger
        assert same(before, image(module))
    assert ledger.undo(one) is True
    assert one not in ledger
    assert same(before, image(module))


def test_an_owner_that_takes_no_attribute_may_have_it_by_itself() -> None:
    """Undoing nothing touches nothing: a built-in class would refuse it."""
    ledger, one = Ledger(), Row("builtins", "bytes.__iter__", plain)
    assert ledger.apply(one) is True
    assert ledger.undo(one) is True
    assert one not in ledger


def test_what_was_left_alone_is_free_for_a_later_patcher(module: Any) -> None:
    """Nothing of gzc's is below a later patch, so nothing of gzc's stays in force."""
    ledger, one = Ledger(), row("Target.method", knows=frozenset())
    ledger.apply(one)
    later = module.Target.method = plain(module.Target.method)
    assert ledger.undo(one) is True
    assert one not in ledger
    assert vars(module.Target)["method"] is later


def test_applying_again_changes_nothing(module: Any) -> None:
    """G8: a second replacement around the first would recurse, or undo only half."""
    made, before, ledger = [], image(module), Ledger()
    one = row("Target.method", lambda original: made.append(original) or plain(original))
    assert ledger.apply(one)
    once = image(module)
    assert ledger.apply(one)
    assert same(once, image(module))
    assert len(made) == 1
    assert module.Target().method(1) == ("gzc", ("method", 1))
    ledger.undo(one)
    assert same(before, image(module))


def test_an_equal_row_is_the_same_row(module: Any) -> None:
    ledger = Ledger()
    ledger.apply(row("Target.method"))
    assert row("Target.method") in ledger
    ledger.apply(row("Target.method"))
    assert module.Target().method(1) == ("gzc", ("method", 1))


def test_undoing_what_was_never_done_is_done(module: Any) -> None:
    before, ledger = image(module), Ledger()
    assert ledger.undo(row("Target.method")) is True
    assert ledger.newest_first() == []
    assert same(before, image(module))


def test_rows_on_one_attribute_come_off_last_in_first_out(module: Any) -> None:
    before, ledger = image(module), Ledger()
    lower = row("Target.method")
    upper = row("Target.method", lambda original: lambda *args: ("upper", original(*args)), frozenset({"args"}))
    ledger.apply(lower)
    ledger.apply(upper)
    assert module.Target().method(1) == ("upper", ("gzc", ("method", 1)))
    assert ledger.newest_first() == [upper, lower]
    both = image(module)
    assert ledger.undo(lower) is False, "upper stands on it and calls it"
    assert same(both, image(module))
    assert all(ledger.undo(one) for one in ledger.newest_first())
    assert same(before, image(module))
    assert ledger.newest_first() == []


def test_a_later_patcher_is_left_in_place(module: Any) -> None:
    ledger, one = Ledger(), row("Target.method")
    ledger.apply(one)
    ours = vars(module.Target)["method"]
    later = plain(ours)
    module.Target.method = later
    assert ledger.undo(one) is False
    assert one in ledger
    assert vars(module.Target)["method"] is later
    assert module.Target().method(1) == ("gzc", ("gzc", ("method", 1)))
    assert ledger.apply(one), "a repeated apply does not put ours on top of theirs"
    assert vars(module.Target)["method"] is later
    module.Target.method = ours
    assert ledger.undo(one) is True
    assert module.Target().method(1) == ("method", 1)


def test_what_somebody_deleted_is_left_deleted(module: Any) -> None:
    ledger, one = Ledger(), row("Target.method")
    ledger.apply(one)
    del module.Target.method
    assert ledger.undo(one) is False
    assert "method" not in vars(module.Target)


def test_a_later_patcher_with_an_equal_replacement_is_still_another(module: Any) -> None:
    """Identity, not equality: bound methods and mocks compare equal to each other."""

    class Equal:
        def __call__(self, *args: object) -> str:
            return "equal"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    ledger, one = Ledger(), row("function", lambda original: Equal())
    ledger.apply(one)
    later = Equal()
    module.function = later
    assert ledger.undo(one) is False
    assert module.function is later


def test_a_module_nobody_has_imported_is_not_imported_for_our_sake(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "gzc_toy_on_disk.py").write_text("def function(count): return count\n")
    monkeypatch.syspath_prepend(tmp_path)
    ledger = Ledger()
    lazy = Row("gzc_toy_on_disk", "function", plain, KNOWS)
    assert ledger.apply(lazy) is False
    assert lazy not in ledger
    assert "gzc_toy_on_disk" not in sys.modules
    eager = Row("gzc_toy_on_disk", "function", plain, KNOWS, eager=True)
    try:
        assert ledger.apply(eager) is True
        assert sys.modules["gzc_toy_on_disk"].function(1) == ("gzc", 1)
    finally:
        sys.modules.pop("gzc_toy_on_disk", None)


@pytest.mark.parametrize(
    ("path", "knows", "why"),
    [
        ("Target.method", frozenset({"count", "offset"}), "no longer mentions offset"),
        ("Target.gone", KNOWS, "not the function it was"),
        ("Target.inherited", KNOWS, "not the function it was"),
        ("Target.builtin", KNOWS, "no longer mentions count"),
        ("Target.nothing", KNOWS, "not the function it was"),
        ("Target.prop", KNOWS, "not the function it was"),
        ("Target.static", KNOWS, "not the function it was"),
        ("Target.of_class", KNOWS, "not the function it was"),
        ("Target.wrapped", KNOWS, "no longer mentions count"),
        ("Target.Inner", KNOWS, "not the function it was"),
        ("Gone.method", KNOWS, "there is no"),
        ("Gone.Inner.method", KNOWS, "there is no"),
        ("Gone.method", frozenset(), "there is no"),
    ],
)
def test_a_target_of_another_shape_is_unknown_and_untouched(
    module: Any, path: str, knows: frozenset[str], why: str
) -> None:
    before, ledger, one = image(module), Ledger(), row(path, knows=knows)
    with pytest.raises(Unknown, match=why) as caught:
        ledger.apply(one)
    assert f"{NAME}.{path}" in str(caught.value), "the message names the target"
    assert one not in ledger
    assert same(before, image(module))


def test_a_replacement_that_cannot_be_made_leaves_everything(module: Any) -> None:
    def broken(original: object) -> object:
        raise RuntimeError("broken")

    before, ledger, one = image(module), Ledger(), row("Target.method", broken)
    with pytest.raises(RuntimeError, match="broken"):
        ledger.apply(one)
    assert one not in ledger
    assert same(before, image(module))


def test_an_owner_that_takes_no_attribute_is_not_booked() -> None:
    ledger, one = Ledger(), Row("builtins", "str.gzc_added", lambda missing: len)
    with pytest.raises(TypeError):
        ledger.apply(one)
    assert one not in ledger
    assert not hasattr(str, "gzc_added")


def test_a_shape_is_looked_for_in_names_variables_and_closures(module: Any) -> None:
    """All of them count as mentioned."""

    def outer(free: int) -> Any:
        def method(self: Any, local: int) -> int:
            return local + free + self.attribute

        return method

    module.Target.method = outer(1)
    assert Ledger().apply(row("Target.method", knows=frozenset({"local", "free", "attribute"})))


def test_a_built_in_function_is_known_by_its_signature(module: Any) -> None:
    module.Target.builtin = sum
    before, ledger = image(module), Ledger()
    one = row("Target.builtin", fresh, frozenset({"iterable", "start"}))
    assert ledger.apply(one)
    assert vars(module.Target)["builtin"] is not sum
    assert ledger.undo(one)
    assert same(before, image(module))


def test_a_shape_is_not_looked_for_below_a_decorator(module: Any) -> None:
    """Whoever decorated it wants to see every call, and the replacement might not make it."""
    decorated = module.decorated(module.Target.method)
    assert decorated.__wrapped__ is module.Target.method
    module.Target.method = decorated
    with pytest.raises(Unknown, match="no longer mentions"):
        Ledger().apply(row("Target.method"))
    assert vars(module.Target)["method"] is decorated


def test_what_nobody_calls_is_not_replaced(module: Any) -> None:
    """R15: a private function is one that its caller mentions; of somebody else's caller nothing is known."""
    library = "def _private(count): ...\ndef public(count): return _private(count)\ndef other(count): ..."
    exec(compile(library, "toy.py", "exec"), vars(module))
    module.__file__ = "toy.py"
    module.decorated_public = module.decorated(module.public)
    module.decorated_other = module.decorated(module.other)
    before = image(module)
    for caller in ("public", "decorated_public", "decorated_other", "Target.builtin", f"{NAME}:public"):
        ledger, one = Ledger(), row("_private", caller=caller)
        assert ledger.apply(one)
        assert ledger.undo(one)
    for caller in ("other", "gone", "Target.gone", "gzc_no_such_module:public"):
        with pytest.raises(Unknown, match=f"{caller.rpartition(':')[2]} does not call _private"):
            Ledger().apply(row("_private", caller=caller))
    assert same(before, image(module))


@pytest.mark.parametrize("path", ["_Private.method", "_private.__code__"])
def test_who_is_called_is_the_first_private_name(module: Any, path: str) -> None:
    library = (
        "class _Private:\n def method(self, count): ...\ndef _private(count): ...\n"
        "def method(count): return count.method\ndef public(count): return _Private, _private"
    )
    exec(compile(library, "toy.py", "exec"), vars(module))
    module.__file__ = "toy.py"

    def make(original: Any) -> Any:
        return lambda count: None

    assert Ledger().apply(row(path, make, caller="public"))
    with pytest.raises(Unknown, match="method does not call _"):
        Ledger().apply(row(path, make, caller="method"))


def test_a_module_that_is_still_being_imported_has_not_arrived(module: Any) -> None:
    """Except for those who hear of its arrival, which is before the import system knows."""
    module.__spec__ = types.SimpleNamespace(_initializing=True)
    before, ledger, one = image(module), Ledger(), row("Target.method")
    assert not arrived(NAME)
    assert ledger.apply(one) is False
    assert ledger.apply(one, "another.module") is False
    assert one not in ledger
    assert same(before, image(module))
    assert ledger.apply(one, NAME) is True
    assert one in ledger
    module.__spec__._initializing = False
    assert arrived(NAME)
    assert ledger.apply(one) is True
    assert ledger.undo(one) is True
    assert same(before, image(module))


def test_a_reloaded_module_is_another_target(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reloading makes new classes in the same module; deleting and importing makes a new module."""
    ledger, in_class, in_module = Ledger(), row("Target.method"), row("function")
    for one in (in_class, in_module):
        ledger.apply(one)
    module.Target = toy().Target
    assert in_class not in ledger
    assert in_module in ledger
    assert ledger.newest_first() == [in_module]
    assert ledger.apply(in_class)
    assert module.Target().method(1) == ("gzc", ("method", 1))
    monkeypatch.setitem(sys.modules, NAME, toy())
    fresh = sys.modules[NAME]
    before = image(fresh)
    assert in_class not in ledger
    assert in_module not in ledger
    for one in (in_class, in_module):
        assert ledger.apply(one)
    assert not same(before, image(fresh))
    assert all(ledger.undo(one) for one in ledger.newest_first())
    assert same(before, image(fresh))


def test_a_module_that_is_away_for_a_while_is_still_ours(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of other programs take modules out of ``sys.modules`` and put the same ones back."""
    before, ledger, one = image(module), Ledger(), row("Target.method")
    ledger.apply(one)
    with monkeypatch.context() as away:
        away.delitem(sys.modules, NAME)
        assert one not in ledger
        assert ledger.newest_first() == [one]
    assert one in ledger
    assert ledger.undo(one)
    assert same(before, image(module))


def test_a_function_that_a_reload_made_anew_is_another_target(module: Any) -> None:
    """The module object stays the same one; what stands in it is neither ours nor a later patcher's."""
    ledger, one = Ledger(), row("function")
    ledger.apply(one)
    for again in range(2):
        module.function = toy().function
        before = image(module)
        assert one not in ledger
        if again:
            assert ledger.undo(one)
            assert same(before, image(module)), "nothing of ours is there to be undone"
            return
        assert ledger.apply(one)
        assert module.function(1) == ("gzc", ("function", 1))
        assert ledger.original(one) is vars(module).get("function").__closure__[0].cell_contents


def test_what_somebody_else_put_back_is_out_of_force(module: Any) -> None:
    """As a program that saves and restores what it patches: the row can be applied again."""
    before, ledger, one = image(module), Ledger(), row("Target.method")
    stock = vars(module.Target)["method"]
    ledger.apply(one)
    module.Target.method = stock
    assert one not in ledger
    assert ledger.undo(one)
    assert same(before, image(module))
    assert ledger.apply(one)
    assert module.Target().method(1) == ("gzc", ("method", 1))


def test_a_class_that_another_one_replaces_gets_its_own_method_back(module: Any) -> None:
    """As gevent replaces classes of the standard library: nothing of ours stays on the one that was there."""
    ledger, one = Ledger(), row("Target.method")
    earlier = module.Target
    stock = vars(earlier)["method"]
    ledger.apply(one)
    module.Target = toy().Target
    assert one not in ledger
    assert vars(earlier)["method"] is stock
    assert ledger.apply(one)
    assert ledger.undo(one)
    assert vars(earlier)["method"] is stock


def test_the_ledger_tells_what_stood_there(module: Any) -> None:
    ledger, ours, own = Ledger(), row("Target.method"), row("Target.static", knows=frozenset())
    stock = vars(module.Target)["method"]
    assert ledger.original(ours) is MISSING
    for one in (ours, own):
        ledger.apply(one)
    assert ledger.original(ours) is stock
    assert not ledger.left_alone(ours)
    assert ledger.original(own) is MISSING
    assert ledger.left_alone(own)


def test_two_ledgers_do_not_undo_each_other(module: Any) -> None:
    before, first, second = image(module), Ledger(), Ledger()
    one, two = row("Target.method"), row("Target.method", knows=frozenset({"args"}))
    first.apply(one)
    second.apply(two)
    assert second.undo(one) is True, "it never did it"
    assert module.Target().method(1) == ("gzc", ("gzc", ("method", 1)))
    assert first.undo(one) is False
    assert second.undo(two) is True
    assert first.undo(one) is True
    assert same(before, image(module))


PATHS = ["function", "Target.method", "Target.described", "Target.Inner.method", "Target.added", "Target.builtin"]
#: Those of them that a row adds where they are missing.
ADDED = ("Target.added", "Target.builtin")


def fresh(_below: object = None) -> Any:
    """A function that is no other, and of the shape every row here knows."""

    def replacement(count: int) -> int:
        return count

    return replacement


class Patchers(RuleBasedStateMachine):
    """gzc's ledger beside somebody else who patches and unpatches the same attributes, in any order.

    The model is a stack for each attribute, of what was put there and by whom.
    """

    def __init__(self) -> None:
        super().__init__()
        self.module: Any = toy()
        self.kept = sys.modules.get(NAME)
        sys.modules[NAME] = self.module
        self.ledger = Ledger()
        self.before = image(self.module)
        self.rows = {path: row(path, fresh, frozenset() if path in ADDED else KNOWS) for path in PATHS}
        self.left_alone: set[str] = set()
        self.stacks: dict[str, list[tuple[str, object]]] = {path: [("stock", self.at(path))] for path in PATHS}

    def place(self, path: str) -> tuple[Any, str]:
        owner = self.module
        *steps, name = path.split(".")
        for step in steps:
            owner = getattr(owner, step)
        return owner, name

    def at(self, path: str) -> object:
        owner, name = self.place(path)
        return vars(owner).get(name, MISSING)

    def take_off(self, path: str) -> None:
        """Somebody restores what stood below his patch."""
        owner, name = self.place(path)
        self.stacks[path].pop()
        below = self.stacks[path][-1][1]
        if below is MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, below)

    def ours(self, path: str) -> bool:
        return any(who == "gzc" for who, _ in self.stacks[path])

    @rule(path=st.sampled_from(PATHS))
    def apply(self, path: str) -> None:
        now = self.at(path)
        assert self.ledger.apply(self.rows[path])
        if self.ours(path):
            return
        if path in ADDED and (path in self.left_alone or now is not MISSING):
            self.left_alone.add(path)
        else:
            assert self.at(path) is not now
            self.stacks[path].append(("gzc", self.at(path)))

    @rule(path=st.sampled_from(PATHS))
    def undo(self, path: str) -> None:
        on_top = self.stacks[path][-1][0] == "gzc"
        assert self.ledger.undo(self.rows[path]) is (on_top or not self.ours(path))
        self.left_alone.discard(path)
        if on_top:
            self.stacks[path].pop()

    @rule(path=st.sampled_from(PATHS))
    def somebody_patches(self, path: str) -> None:
        owner, name = self.place(path)
        later = fresh()
        setattr(owner, name, later)
        self.stacks[path].append(("somebody", later))

    @precondition(lambda self: any(stack[-1][0] == "somebody" for stack in self.stacks.values()))
    @rule(data=st.data())
    def somebody_unpatches(self, data: st.DataObject) -> None:
        self.take_off(data.draw(st.sampled_from([p for p, stack in self.stacks.items() if stack[-1][0] == "somebody"])))

    @invariant()
    def every_attribute_is_what_the_last_patcher_left(self) -> None:
        for path, stack in self.stacks.items():
            assert self.at(path) is stack[-1][1], path
            assert (self.rows[path] in self.ledger) == (self.ours(path) or path in self.left_alone), path

    def teardown(self) -> None:
        """However it came about: everybody takes off what is on top, and then all is as it was."""
        try:
            for path in PATHS:
                if path in self.left_alone:
                    self.undo(path)
                while len(self.stacks[path]) > 1:
                    if self.stacks[path][-1][0] == "gzc":
                        self.undo(path)
                    else:
                        self.take_off(path)
            assert self.ledger.newest_first() == []
            assert same(self.before, image(self.module))
        finally:
            if self.kept is None:
                sys.modules.pop(NAME, None)
            else:
                sys.modules[NAME] = self.kept


TestPatchers = Patchers.TestCase
TestPatchers.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def catalogue() -> list[Row]:
    return [one for seam in SEAMS for one in seam.rows]


def test_the_catalogue_names_each_seam_and_each_target_once() -> None:
    names = [seam.name for seam in SEAMS]
    targets = [str(one) for one in catalogue()]
    assert len(set(names)) == len(names)
    assert len(set(targets)) == len(targets)
    assert all(seam.why and seam.reaches for seam in SEAMS)
    assert [seam.name for seam in SEAMS if not seam.rows] == (["pathlib"] if sys.version_info < (3, 14) else [])


#: Private names that are replaced without a function to ask whether it calls them.
CALLED_BY_OTHERS = {
    "gevent.socket.socket._sendfile_use_sendfile": "CPython's tests call it, gevent does not",
}


def test_a_row_that_replaces_something_private_says_who_calls_it() -> None:
    silent = {
        str(one)
        for one in catalogue()
        if one.knows and not one.caller and re.search(r"\._(?!_)", f".{one.module}.{one.path}")
    }
    assert silent == set(CALLED_BY_OTHERS)


@pytest.mark.parametrize("one", catalogue(), ids=str)
def test_every_row_of_the_catalogue_fits_what_is_installed_and_comes_off_again(one: Row) -> None:
    """In a ledger of its own, so whatever the process has in force must be off already."""
    owner: Any = __import__(one.module, fromlist=["_"])
    *steps, name = one.path.split(".")
    for step in steps:
        owner = getattr(owner, step)

    def attributes() -> dict[str, object]:
        return {**vars(owner), "__code__": owner.__code__} if name == "__code__" else dict(vars(owner))

    before = attributes()
    ledger = Ledger()
    assert ledger.apply(one)
    if one.knows or name not in before:  # else it has that by itself
        assert attributes()[name] is not before.get(name, MISSING)
    assert ledger.undo(one)
    assert attributes().keys() == before.keys()
    assert all(attributes()[key] is value for key, value in before.items())


# -- modules that have not arrived -------------------------------------------------------------------------


@pytest.fixture
def awaiting() -> Iterator[list[str]]:
    """What arrived; afterwards the import system is as it was."""
    finders, modules = list(sys.meta_path), set(sys.modules)
    yield []
    _import_hooks.await_nothing()
    assert sys.meta_path == finders
    for name in set(sys.modules) - modules:
        if name.startswith("gzc_"):
            del sys.modules[name]


def test_a_module_that_nobody_finds_is_not_found(awaiting: list[str]) -> None:
    _import_hooks.await_module("gzc_no_such_module", lambda: awaiting.append("arrived"))
    with pytest.raises(ModuleNotFoundError, match="gzc_no_such_module"):
        importlib.import_module("gzc_no_such_module")
    assert awaiting == []


def test_a_loader_of_several_modules_is_given_back_with_the_last(
    awaiting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a zip file; others than these two do not notice."""

    class Loader:
        def create_module(self, spec: object) -> None:
            """The usual kind."""

        def exec_module(self, module: types.ModuleType) -> None:
            module.__dict__["loaded"] = True

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            known = name in ("gzc_first", "gzc_second", "gzc_third")
            return importlib.util.spec_from_loader(name, loader) if known else None  # type: ignore[arg-type]

    loader = Loader()
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    for name in ("gzc_first", "gzc_second"):
        _import_hooks.await_module(name, functools.partial(awaiting.append, name))
    assert importlib.import_module("gzc_first").loaded
    assert awaiting == ["gzc_first"]
    importlib.import_module("gzc_third")
    assert awaiting == ["gzc_first"]
    assert importlib.import_module("gzc_second").loaded
    assert awaiting == ["gzc_first", "gzc_second"]
    assert vars(loader) == {}
