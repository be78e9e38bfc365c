SELECT @@version, @@autocommit, DATABASE(), CURRENT_USER();
DROP TABLE IF EXISTS compat_client;
CREATE TABLE compat_client (id INT AUTO_INCREMENT PRIMARY KEY, price DECIMAL(10,3), moment DATETIME(6), name VARCHAR(50) CHARACTER SET utf8mb4, raw BLOB, doc JSON);
INSERT INTO compat_client (price, moment, name, raw, doc) VALUES (1.5, '2026-01-02 03:04:05.678901', 'Zoë 🐺', x'00ff27', '{"a": [1, null]}'), (2, NULL, 'two', NULL, NULL);
SELECT LAST_INSERT_ID(), ROW_COUNT();
SELECT id, price, moment, name, HEX(raw), doc FROM compat_client;
UPDATE compat_client SET price = price * 2;
SELECT ROW_COUNT();
INSERT INTO compat_client (id) VALUES (1);
SHOW WARNINGS;
SELEC 1;
SELECT * FROM compat_nothing;
INSERT IGNORE INTO compat_client (id, name) VALUES (1, REPEAT('x', 60));
SHOW WARNINGS;
SHOW CREATE TABLE compat_client\G
DESCRIBE compat_client;
START TRANSACTION;
DELETE FROM compat_client;
SELECT COUNT(*) FROM compat_client;
ROLLBACK;
SELECT COUNT(*) FROM compat_client;
SET @compat = 41;
SELECT @compat + 1;
CREATE TEMPORARY TABLE compat_mine AS SELECT 1 AS one;
SELECT * FROM compat_mine;
PREPARE again FROM 'SELECT ? + 1';
EXECUTE again USING @compat;
DEALLOCATE PREPARE again;
DELIMITER //
CREATE OR REPLACE PROCEDURE compat_client_two(n INT) BEGIN SELECT n; SELECT n + 1, 'x'; END//
DELIMITER ;
CALL compat_client_two(5);
DROP PROCEDURE compat_client_two;
SELECT SQL_CALC_FOUND_ROWS seq FROM seq_1_to_100 LIMIT 1;
SELECT FOUND_ROWS();
USE test
SELECT DATABASE();
USE demo
EXPLAIN SELECT * FROM compat_client WHERE id = 1;
LOCK TABLES compat_client WRITE;
UNLOCK TABLES;
SHOW TABLES LIKE 'compat_c%';
SELECT GET_LOCK('compat_client', 1), RELEASE_LOCK('compat_client');
DROP TABLE compat_client;
