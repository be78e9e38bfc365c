// Thirty operations with npm's mysql2, and what each gave, as a line of JSON.
// node mysql2_script.mjs HOST PORT USER PASSWORD DATABASE [compress], with mysql2 in a node_modules beside the working directory.
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';

const require = createRequire(process.cwd() + '/');
const mysql = require('mysql2/promise');
const [host, port, user, password, database, option] = process.argv.slice(2);
const compress = option === 'compress';
const account = { host, port: Number(port), user, password, database, charset: 'utf8mb4', compress };
const options = { ...account, multipleStatements: true, supportBigNumbers: true, dateStrings: true };

let number = 0;
const show = (what, outcome) => {
  number += 1;
  const text = JSON.stringify([String(number).padStart(2, '0') + ' ' + what, outcome], (_, value) =>
    typeof value === 'bigint' ? `${value}n` : value && value.type === 'Buffer' ? value.data.slice(0, 50) : value);
  console.log(text);
};
const run = async (connection, how, sql, values) => {
  try {
    const [rows, fields] = await connection[how](sql, values);
    return { rows, fields: (fields ?? []).flat().filter(Boolean).map((f) => [f.name, f.columnType, f.flags]) };
  } catch (error) {
    return { errno: error.errno, code: error.code, state: error.sqlState, message: error.message };
  }
};

const connection = await mysql.createConnection(options);
const statements = [
  ['query', 'SELECT @@version, @@autocommit, DATABASE(), CURRENT_USER()'],
  ['query', 'DROP TABLE IF EXISTS compat_node'],
  ['query', 'CREATE TABLE compat_node (id INT AUTO_INCREMENT PRIMARY KEY, big BIGINT UNSIGNED, price DECIMAL(10,3),'
    + ' moment DATETIME(6), name VARCHAR(50) CHARACTER SET utf8mb4, raw BLOB, doc JSON)'],
  ['execute', 'INSERT INTO compat_node (big, price, moment, name, raw, doc) VALUES (?, ?, ?, ?, ?, ?)',
    ['18446744073709551615', '1.500', '2026-01-02 03:04:05.678901', 'Zoë 🐺', Buffer.from([0, 255, 39]), '{"a":[1,null]}']],
  ['query', 'SELECT LAST_INSERT_ID() AS id'],
  ['query', 'SELECT * FROM compat_node'],
  ['execute', 'SELECT * FROM compat_node WHERE id = ?', [1]],
  ['execute', 'SELECT * FROM compat_node WHERE id = ?', [2]],
  ['execute', 'UPDATE compat_node SET price = price * 2 WHERE name = ?', ['Zoë 🐺']],
  ['execute', 'SELECT price FROM compat_node WHERE id = ?', [1]],
  ['query', 'INSERT INTO compat_node (id) VALUES (1)'],
  ['query', 'SELEC 1'],
  ['execute', 'SELECT * FROM compat_nothing'],
  ['query', 'SELECT 1 AS a; SELECT 2 AS b; UPDATE compat_node SET price = 0; SELECT price FROM compat_node'],
  ['query', 'SET @compat = ?', [41]],
  ['query', 'SELECT @compat + 1 AS v'],
  ['query', 'CREATE TEMPORARY TABLE compat_mine AS SELECT 1 AS one; SELECT * FROM compat_mine'],
  ['query', "SELECT GET_LOCK('compat_node', 1) AS got, RELEASE_LOCK('compat_node') AS released"],
  ['query', 'DROP PROCEDURE IF EXISTS compat_node_two'],
  ['query', "CREATE PROCEDURE compat_node_two(n INT) BEGIN SELECT n; SELECT n + 1, 'x'; END"],
  ['query', 'CALL compat_node_two(?)', [5]],
  ['execute', 'CALL compat_node_two(?)', [6]],
];
for (const [how, sql, values] of statements) show(sql.slice(0, 50), await run(connection, how, sql, values));

await connection.beginTransaction();
await connection.query('DELETE FROM compat_node');
show('inside a transaction', await run(connection, 'query', 'SELECT COUNT(*) AS n FROM compat_node'));
await connection.rollback();
show('rolled back', await run(connection, 'query', 'SELECT COUNT(*) AS n FROM compat_node'));
await connection.query('CREATE OR REPLACE TABLE compat_node_loaded (a INT, b VARCHAR(20))');
const lines = Array.from({ length: 1000 }, (_, n) => `${n},line ${n}\n`).join('');
show('a stream into a table', await run(connection, 'query', {
  sql: "LOAD DATA LOCAL INFILE 'rows' INTO TABLE compat_node_loaded FIELDS TERMINATED BY ','",
  infileStreamFactory: () => Readable.from([Buffer.from(lines)]),
}));
show('what was loaded', await run(connection, 'query', 'SELECT COUNT(*) AS n, SUM(a) AS s FROM compat_node_loaded'));
await connection.query('DROP TABLE compat_node, compat_node_loaded; DROP PROCEDURE compat_node_two');
await connection.changeUser({ user, password, database: 'test' });
show('changed user', await run(connection, 'query', 'SELECT DATABASE() AS d, @compat AS v'));
await connection.ping();
await connection.end();

try {
  await mysql.createConnection({ ...account, password: 'wrong' });
} catch (error) {
  show('wrong password', [error.errno, error.code, error.sqlState]);
}
const pool = mysql.createPool({ ...account, connectionLimit: 3 });
show('a pool', await Promise.all(Array.from({ length: 20 }, async (_, n) => (await pool.execute('SELECT ? * 2 AS v', [n]))[0])));
await pool.end();
const compressed = await mysql.createConnection({ ...account, compress: true });
show('compressed', await run(compressed, 'query', "SELECT MD5(REPEAT('z', 1000000)) AS m, REPEAT('z', 100) AS z"));
await compressed.end();
