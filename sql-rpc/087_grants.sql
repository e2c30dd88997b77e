-- grants(p_type, p_acl, p_owner): what roles other than the owner may do, as parts of a
-- definition: {grant, role, privileges, null, null}.
--
-- `all` stands for every privilege that such an object has: PostgreSQL 17 added one to tables, and
-- `grant all` of an older dump includes it there. The owner is listed only where a privilege was
-- revoked from it. p_type is the letter that acldefault() takes.
create function ctx0_private.grants(p_type "char", p_acl aclitem[], p_owner oid)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(array_agg(array['grant', g.role, g.privileges, null, null] order by g.role collate "C"), '{}')
      from (
        select case a.grantee when 0 then 'public' when p_owner then 'owner' else a.grantee::regrole::text end as role,
               case when count(*) = f.number and f.number > 1 and not bool_or(a.grantable) then 'all'
                    else string_agg(a.privilege || case when a.grantable then ' with grant option' else '' end,
                                    ', ' order by a.privilege) end as privileges,
               a.grantee <> p_owner or count(*) < f.number as told
          from (select x.grantee, lower(x.privilege_type) as privilege, bool_or(x.is_grantable) as grantable
                  from aclexplode(coalesce(p_acl, acldefault(p_type, p_owner))) x
                 group by x.grantee, lower(x.privilege_type)) a
         cross join (select count(*) as number
                       from aclexplode(acldefault(p_type, p_owner)) d
                      where d.grantee = p_owner) f
         group by a.grantee, f.number
      ) g
     where g.told);
end
$$;

comment on function ctx0_private.grants("char", aclitem[], oid) is
  'ctx0: what roles other than the owner may do with an object';
