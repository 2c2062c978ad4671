#!/bin/sh
# Makes the database on the first start, then becomes the server.
set -eu
data=/var/lib/mysql
install -d -o mysql -g mysql /run/mysqld
chown mysql:mysql "$data"
if [ ! -d "$data/mysql" ]; then
    mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --auth-root-authentication-method=socket >/dev/null
fi
# Written at every start, so that a changed password takes effect.
cat >/run/mysqld/init.sql <<SQL
CREATE DATABASE IF NOT EXISTS \`$DB_NAME\`;
CREATE USER IF NOT EXISTS '$DB_USER'@'%';
ALTER USER '$DB_USER'@'%' IDENTIFIED BY '$DB_PASSWORD';
GRANT ALL ON \`$DB_NAME\`.* TO '$DB_USER'@'%';
SQL
chown mysql /run/mysqld/init.sql
exec mariadbd --user=mysql --datadir="$data" --bind-address=0.0.0.0 --skip-networking=0 --init-file=/run/mysqld/init.sql
