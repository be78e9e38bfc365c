// mysql2 connects with TLS and verifies: node tls_mysql2.mjs HOST PORT USER PASSWORD DATABASE AUTHORITY
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(process.cwd() + '/');
const mysql = require('mysql2/promise');
const [host, port, user, password, database, authority] = process.argv.slice(2);
const ssl = { ca: readFileSync(authority), verifyIdentity: true };
const connection = await mysql.createConnection({ host, port: Number(port), user, password, database, ssl });
const [rows] = await connection.execute('SELECT 40 + 2 AS answer');
console.log('mysql2', rows[0].answer);
await connection.end();
