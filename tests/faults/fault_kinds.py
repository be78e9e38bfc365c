"""Each kind of statement whose group is no plain transaction, and what must exist before it."""

SETUP = (
    "CREATE DATABASE app",
    "CREATE TABLE app.t (id INT PRIMARY KEY, note INT) ENGINE=InnoDB",
    "CREATE TABLE app.keyless (id INT) ENGINE=Aria",
    "CREATE TABLE app.altered (id INT) ENGINE=InnoDB",
    "CREATE TABLE app.dropped (id INT) ENGINE=InnoDB",
    "CREATE TABLE app.truncated (id INT) ENGINE=InnoDB",
    "CREATE TABLE app.prepared (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TABLE app.mixed (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TRIGGER app.beside AFTER INSERT ON app.mixed FOR EACH ROW "
    "INSERT INTO app.keyless VALUES (NEW.id)",
    "CREATE USER reader@localhost",
    "INSERT INTO app.t VALUES (1, 1), (2, 2)",
    "INSERT INTO app.altered VALUES (1), (2)",
    "INSERT INTO app.truncated VALUES (1), (2)",
    "XA START 'given'",
    "INSERT INTO app.prepared VALUES (60)",
    "XA END 'given'",
    "XA PREPARE 'given'",
)

KINDS: dict[str, tuple[str, ...]] = {
    "CREATE TABLE": ("CREATE TABLE app.fresh (id INT)",),
    "ALTER TABLE": ("ALTER TABLE app.altered ADD COLUMN more INT DEFAULT 7",),
    "DROP TABLE": ("DROP TABLE app.dropped",),
    "TRUNCATE": ("TRUNCATE app.truncated",),
    "CREATE SELECT": ("CREATE TABLE app.copied ENGINE=InnoDB SELECT * FROM app.t",),
    "CREATE USER": ("CREATE USER writer@localhost",),
    "GRANT": ("GRANT SELECT ON app.* TO reader@localhost",),
    "CREATE PROCEDURE": ("CREATE PROCEDURE app.p() SELECT 1",),
    "CREATE SEQUENCE": ("CREATE SEQUENCE app.s",),
    "Aria insert": ("INSERT INTO app.keyless VALUES (1)",),
    "InnoDB and Aria insert": ("INSERT INTO app.mixed VALUES (2)",),
    "XA PREPARE": (
        "XA START 'taken'",
        "INSERT INTO app.prepared VALUES (70)",
        "XA END 'taken'",
        "XA PREPARE 'taken'",
    ),
    "XA COMMIT": ("XA COMMIT 'given'",),
}
"""The last statement of each is the one that is meant; those before it belong to its session."""

UNMARKED = frozenset({"Aria insert", "InnoDB and Aria insert"})
"""To a proxy these look like plain DML, so that no intent mark is set for them."""
