<?php
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$db = new mysqli('db', 'shop', getenv('DB_PASSWORD') ?: 'shop', 'shop');
if (!empty($_POST['name'])) {
    $db->execute_query('INSERT IGNORE INTO fruit VALUES (?)', [$_POST['name']]);
}
echo "<ul>\n";
foreach ($db->query('SELECT name FROM fruit ORDER BY name') as $row) {
    echo '<li>', htmlspecialchars($row['name']), "</li>\n";
}
echo "</ul>\n";
